/** Scripts that make a result again with TransformerLens and SAELens and compare the numbers. */
export { type Expected, scriptBase, type ScriptBase } from './spec';
export { treeSpec } from './tree';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the scripts are written for. */
const PINS = 'torch>=2.1 transformers==4.46.3 transformer-lens==2.16.1 sae-lens==6.18.0';

/** JSON that can stand between ''' in Python source, whatever it holds. */
const quoted = (value: unknown): string => JSON.stringify(value).replaceAll("'", '\\u0027');

const line = (text: string): string => text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200);

/**
 * A script that computes something again: `body` names its file in server/python, `spec` is what that reads. Nothing of the spec is run.
 */
export function pythonScript(home: string, title: string, body: string, spec: unknown): string {
  const file = (name: string): string => readFileSync(join(home, 'server', 'python', `${name}.py`), 'utf8').trimEnd();
  return `# ${line(title)}: computed again with TransformerLens and SAELens, and compared with Attention Circuits.
#
#   pip install ${PINS}
#
# TransformerLens 4 has no HookedTransformer. These versions were not run where this script was made: it was tested against stand-ins
# of the same interface. Dictionaries are read with SAE.load_from_disk, so they must be SAELens folders.
import json
import sys

import torch
from sae_lens import SAE
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import AutoModelForCausalLM


${file('common')}


${file(body)}


SPEC = json.loads(r'''${quoted(spec)}''')

torch.set_grad_enabled(False)
tool = Tool(SPEC)
run(tool)
tool.finish()
`;
}
