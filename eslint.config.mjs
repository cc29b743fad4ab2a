// Lint, and the direction of dependencies: each folder of the server may import only what its row allows.
import tseslint from 'typescript-eslint';

const server = {
  errors: [],
  maths: [],
  onnx: [],
  formats: ['errors'],
  tokenizer: ['errors'],
  prompts: ['errors'],
  store: ['errors'],
  runtime: ['errors', 'onnx'],
  model: ['errors', 'formats', 'maths', 'onnx', 'runtime', 'store'],
  dictionaries: ['errors', 'formats', 'maths', 'onnx', 'runtime', 'store'],
  attribution: ['errors', 'maths', 'model', 'dictionaries'],
  engine: ['errors', 'formats', 'model', 'dictionaries', 'attribution', 'runtime', 'tokenizer'],
  analyses: ['errors', 'maths', 'model', 'dictionaries', 'attribution', 'engine'],
  interop: ['errors', 'model', 'attribution'],
  cli: [
    'errors',
    'formats',
    'model',
    'dictionaries',
    'attribution',
    'engine',
    'analyses',
    'interop',
    'prompts',
    'runtime',
  ],
};

// Packages that only one folder may import.
const owners = {
  'onnxruntime-node': 'server/src/runtime',
  '@huggingface/tokenizers': 'server/src/tokenizer',
  '@bufbuild/protobuf': 'server/src/onnx',
  commander: 'server/src/cli',
  vscode: 'client',
  'vscode-languageclient': 'client',
  'vscode-languageserver': 'server/src/lsp',
  '@vscode/webview-ui-toolkit': 'webviews/ui',
};

const restricted = (folder, allowed) => {
  const forbidden = Object.keys(server).filter((f) => f !== folder && !allowed.includes(f));
  const packages = Object.entries(owners).filter(([, owner]) => owner !== `server/src/${folder}`);
  return {
    files: [`server/src/${folder}/**/*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            ...forbidden.map((f) => ({
              regex: `^(\\.\\./)+${f}(/|$)`,
              message: `${folder}/ must not import ${f}/ (see ARCHITECTURE.md)`,
            })),
            ...packages.map(([p, owner]) => ({ regex: `^${p}(/|$)`, message: `only ${owner}/ imports ${p}` })),
          ],
        },
      ],
    },
  };
};

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', '**/*.mjs', 'demo/train/**'] },
  ...tseslint.configs.recommendedTypeChecked,
  ...tseslint.configs.stylistic,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/prefer-for-of': 'off',
      'no-console': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'max-lines': ['error', { max: 450, skipBlankLines: true, skipComments: true }],
      complexity: ['error', 20],
    },
  },
  ...Object.entries(server).map(([folder, allowed]) => restricted(folder, allowed)),
  { files: ['examples/**', 'bench/**', 'test/**', 'demo/**'], rules: { 'no-console': 'off' } },
);
