/** The controls of all panels. The only code that knows the component library, so that another can take its place. */
import {
  provideVSCodeDesignSystem,
  vsCodeButton,
  vsCodeCheckbox,
  vsCodeDropdown,
  vsCodeOption,
  vsCodeProgressRing,
  vsCodeTextField,
} from '@vscode/webview-ui-toolkit';
import { h } from './dom';

/** Registers the controls. To be called once a page. */
export function registerControls(): void {
  provideVSCodeDesignSystem().register(
    vsCodeButton(),
    vsCodeCheckbox(),
    vsCodeDropdown(),
    vsCodeOption(),
    vsCodeProgressRing(),
    vsCodeTextField(),
  );
}

const element = (tag: string, attributes: Record<string, string>): HTMLElement => {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
};

/** A button. `title` says what it does and, after a dash, its key. */
export function button(
  label: string,
  title: string,
  onClick: () => void,
  appearance: 'primary' | 'secondary' = 'secondary',
): HTMLElement {
  const b = element('vscode-button', { appearance, title });
  b.textContent = label;
  b.addEventListener('click', onClick);
  return b;
}

/** A checkbox with its label. */
export function checkbox(label: string, checked: boolean, onChange: (checked: boolean) => void): HTMLElement {
  const c = element('vscode-checkbox', {}) as HTMLElement & { checked: boolean };
  c.textContent = label;
  c.checked = checked;
  if (checked) c.setAttribute('checked', '');
  c.addEventListener('change', () => onChange(c.checked));
  return c;
}

let ids = 0;

/** A dropdown with a visible label. Values are given as pairs of value and text. */
export function dropdown<T extends string>(
  label: string,
  options: readonly (readonly [T, string])[],
  value: T,
  onChange: (value: T) => void,
): HTMLElement {
  const d = element('vscode-dropdown', { 'aria-label': label }) as HTMLElement & { value: string };
  for (const [v, text] of options) {
    const o = element('vscode-option', { value: v });
    o.textContent = text;
    if (v === value) o.setAttribute('selected', '');
    d.append(o);
  }
  d.addEventListener('change', () => onChange(d.value as T));
  return h('span', { class: 'control' }, h('span', { class: 'control-label', 'aria-hidden': 'true' }, label), d);
}

/** A text field; its label is for screen readers, the placeholder says the same. `onInput` hears every change, `onEnter` the Enter key. */
export function textField(
  label: string,
  value: string,
  onInput: (value: string) => void,
  onEnter: (value: string) => void = () => undefined,
): HTMLElement & { value: string } {
  const t = element('vscode-text-field', { placeholder: label, size: '18' }) as HTMLElement & {
    value: string;
  };
  t.textContent = label;
  t.value = value;
  t.setAttribute('value', value);
  t.addEventListener('input', () => onInput(t.value));
  t.addEventListener('keydown', (e) => {
    if (e.key === 'Enter') onEnter(t.value);
  });
  return t;
}

/** A slider with its label and value. The toolkit has none, so this is the platform's own. */
export function slider(
  label: string,
  range: { min: number; max: number; step: number },
  value: number,
  text: (value: number) => string,
  onInput: (value: number) => void,
): HTMLElement {
  const id = `slider-${ids++}`;
  const shown = h('output', { for: id }, text(value));
  const input = h('input', {
    id,
    type: 'range',
    ...range,
    value,
    'aria-valuetext': text(value),
    oninput: () => {
      const v = Number(input.value);
      shown.textContent = text(v);
      input.setAttribute('aria-valuetext', text(v));
      onInput(v);
    },
  });
  return h('span', { class: 'control' }, h('label', { for: id, class: 'control-label' }, label), input, shown);
}

/** Shows that something is under way. */
export const busy = (label: string): HTMLElement =>
  element('vscode-progress-ring', { 'aria-label': label, role: 'progressbar' });
