import type { WireToken } from '../../server/protocol';
import { h, heatClass, maxAbs, quoted, signed } from '../ui';

/**
 * The prompt's tokens in a row, coloured by a number each. `marked` tokens carry a frame; clicking one calls back.
 */
export function tokenStrip(
  label: string,
  tokens: readonly WireToken[],
  values: readonly number[] | null,
  marked: ReadonlySet<number>,
  onClick: ((position: number) => void) | null,
): HTMLElement {
  const max = maxAbs(values ?? []);
  const items = tokens.map((t) => {
    const value = values?.[t.position] ?? 0;
    const number = values ? `: ${signed(value)}` : '';
    const title = `${quoted(t.text)} @${t.position}${number}`;
    const classes = `token ${values ? heatClass(value, max) : 'zero'}${marked.has(t.position) ? ' marked' : ''}`;
    const text = t.text.replaceAll('\n', '⏎').replaceAll(' ', '\u00a0');
    const bidi = h('bdi', {}, text);
    if (!onClick) return h('span', { class: classes, title, role: 'listitem' }, bidi);
    const pressed = marked.has(t.position) ? 'true' : 'false';
    const b = h(
      'button',
      {
        type: 'button',
        class: classes,
        title,
        'aria-label': title,
        'aria-pressed': pressed,
        onclick: () => onClick(t.position),
      },
      bidi,
    );
    return h('span', { role: 'listitem' }, b);
  });
  return h('div', { class: 'token-strip', role: 'list', 'aria-label': label }, ...items);
}
