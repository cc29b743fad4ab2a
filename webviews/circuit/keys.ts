/** The keyboard of the outline: the WAI-ARIA tree pattern, and the keys of the field. */
import { type Row } from './model';

export interface KeyEvents {
  select(id: string): void;
  toggle(id: string): void;
  more(parent: string): void;
  pin(id: string): void;
  validate(): void;
  ablate(id: string): void;
  reroot(): void;
  back(): void;
  rename(): void;
  groupStart(): void;
  clear(): void;
}

/** What is looked at of a keyboard event. */
export interface KeyPress {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  preventDefault(): void;
}

const idOf = (r: Row): string => (r.type === 'node' ? r.node.id : r.id);
const PAGE = 15;

function parentOf(list: readonly Row[], at: number): string | null {
  for (let i = at - 1; i >= 0; i--) if (list[i].level < list[at].level) return idOf(list[i]);
  return null;
}

/** Where a movement key leads; null when it is none. */
export function moveTo(key: string, at: number, count: number): number | null {
  const clamp = (i: number): number => Math.max(0, Math.min(count - 1, i));
  if (key === 'ArrowDown') return clamp(at + 1);
  if (key === 'ArrowUp') return clamp(at - 1);
  if (key === 'Home') return 0;
  if (key === 'End') return count - 1;
  if (key === 'PageDown') return clamp(at + PAGE);
  if (key === 'PageUp') return clamp(at - PAGE);
  return null;
}

/** Right opens or goes in, left closes or goes out. */
function sideways(key: string, list: readonly Row[], at: number, events: KeyEvents): void {
  const row = list[at];
  const opens = row.type === 'node' && row.node.opens;
  const expanded = row.type === 'node' && row.expanded;
  if (key === 'ArrowRight' && opens && !expanded) events.toggle(idOf(row));
  else if (key === 'ArrowRight' && expanded && list[at + 1]?.level === row.level + 1) events.select(idOf(list[at + 1]));
  else if (key === 'ArrowLeft' && expanded) events.toggle(idOf(row));
  else if (key === 'ArrowLeft') {
    const parent = parentOf(list, at);
    if (parent !== null) events.select(parent);
  }
}

function openSiblings(list: readonly Row[], at: number, events: KeyEvents): void {
  const parent = parentOf(list, at);
  list.forEach((r, i) => {
    if (r.type === 'node' && r.level === list[at].level && r.node.opens && !r.expanded && parentOf(list, i) === parent)
      events.toggle(r.node.id);
  });
}

function act(key: string, list: readonly Row[], at: number, events: KeyEvents): boolean {
  const row = list[at];
  const node = row.type === 'node' ? row.node : null;
  const actions: Record<string, () => void> = {
    Enter: () => (row.type === 'cut' ? events.more(row.parent) : node?.opens && events.toggle(node.id)),
    ' ': () => (row.type === 'cut' ? events.more(row.parent) : node?.opens && events.toggle(node.id)),
    p: () => node && events.pin(node.id),
    v: () => events.validate(),
    a: () => node && events.ablate(node.id),
    r: () => events.reroot(),
    g: () => events.groupStart(),
    F2: () => events.rename(),
    Backspace: () => events.back(),
    Escape: () => events.clear(),
    '*': () => openSiblings(list, at, events),
  };
  const action = actions[key.length === 1 ? key.toLowerCase() : key];
  action?.();
  return action !== undefined;
}

/** Handles a key pressed in the outline. */
export function treeKey(e: KeyPress, list: readonly Row[], selected: string | null, events: KeyEvents): void {
  if (e.ctrlKey || e.metaKey || e.altKey || list.length === 0) return;
  const at = Math.max(
    0,
    list.findIndex((r) => idOf(r) === selected),
  );
  const target = moveTo(e.key, at, list.length);
  if (target !== null) events.select(idOf(list[target]));
  else if (e.key === 'ArrowRight' || e.key === 'ArrowLeft') sideways(e.key, list, at, events);
  else if (!act(e.key, list, at, events)) return;
  e.preventDefault();
}
