// Lint, and the direction of dependencies: each folder of the server may import only what its row allows.
import tseslint from 'typescript-eslint';

const server = {
  errors: [],
  hub: ['errors', 'formats', 'store'],
  maths: [],
  onnx: [],
  formats: ['errors'],
  tokenizer: ['errors'],
  prompts: ['errors'],
  notes: ['errors', 'prompts', 'store'],
  store: ['errors'],
  scheduler: ['errors'],
  runtime: ['errors', 'onnx'],
  model: ['errors', 'formats', 'maths', 'onnx', 'runtime', 'store'],
  dictionaries: ['errors', 'formats', 'maths', 'onnx', 'runtime', 'store'],
  attribution: ['errors', 'maths', 'model', 'dictionaries'],
  engine: ['errors', 'formats', 'model', 'dictionaries', 'attribution', 'runtime', 'tokenizer'],
  analyses: ['errors', 'maths', 'model', 'dictionaries', 'attribution', 'engine'],
  text: ['attribution'],
  experiments: ['errors', 'maths', 'model', 'dictionaries', 'attribution', 'engine', 'analyses', 'prompts', 'python'],
  interop: ['errors', 'model', 'attribution'],
  corpus: ['analyses', 'errors', 'dictionaries', 'engine', 'prompts', 'python', 'store'],
  batch: ['analyses', 'corpus', 'dictionaries', 'engine', 'errors', 'experiments', 'store', 'text'],
  circuits: ['attribution', 'engine', 'errors'],
  assistant: ['analyses', 'attribution', 'engine', 'errors', 'text'],
  python: ['attribution', 'engine'],
  golden: ['analyses', 'attribution', 'dictionaries', 'engine', 'errors', 'model'],
  lsp: [
    'batch',
    'assistant',
    'notes',
    'circuits',
    'hub',
    'corpus',
    'golden',
    'python',
    'experiments',
    'analyses',
    'attribution',
    'dictionaries',
    'engine',
    'errors',
    'model',
    'prompts',
    'interop',
    'runtime',
    'scheduler',
    'store',
    'text',
  ],
  cli: [
    'batch',
    'assistant',
    'circuits',
    'hub',
    'corpus',
    'golden',
    'store',
    'python',
    'experiments',
    'text',
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
  '@modelcontextprotocol/sdk': 'server/src/cli',
  'hyparquet-writer': 'server/src/batch',
  'node-sqlite3-wasm': 'server/src/corpus',
  '@huggingface/hub': 'server/src/hub',
  undici: 'server/src/hub',
  'proxy-from-env': 'server/src/hub',
  vscode: 'client',
  'vscode-languageclient': 'client',
  'vscode-languageserver': 'server/src/lsp',
  '@vscode/webview-ui-toolkit': 'webviews/ui',
  'd3-hierarchy': 'webviews',
  '@vscode/vsce': 'examples/workbench',
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

/** Rules of a folder outside the server: paths it must not import, and the packages that are not its own. */
const outside = (folder, forbidden, owned = []) => ({
  files: [`${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          ...forbidden.map((regex) => ({ regex, message: `${folder}/ must not import this (see ARCHITECTURE.md)` })),
          ...Object.entries(owners)
            .filter(([p, owner]) => owner !== folder && !owned.includes(p))
            .map(([p, owner]) => ({ regex: `^${p}(/|$)`, message: `only ${owner}/ imports ${p}` })),
        ],
      },
    ],
  },
});

const webviewCode = '/webviews/(?!protocol)';

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
  outside('client', ['/server/src/', webviewCode]),
  outside('server/protocol', ['^(?!\\./)']),
  outside('webviews', ['/server/src/', '/client/', '^node:']),
  outside('webviews/ui', ['/server/', '/client/', '/protocol', '^node:', '\\.\\./(circuit|feature|attention|shared)']),
  { files: ['examples/**', 'bench/**', 'test/**', 'demo/**'], rules: { 'no-console': 'off' } },
);
