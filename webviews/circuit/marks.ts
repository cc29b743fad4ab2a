/** What the reader has put on the nodes of a tree: pins, supernodes and names of her own. */
import { announce } from '../shared/host';
import { type Saved, type Supernode } from './model';

export class Marks {
  pins: string[] = [];
  groups: Supernode[] = [];
  names: Record<string, string> = {};
  /** Nodes clicked while G is held. */
  grouping: Set<string> | null = null;

  constructor(
    saved: Partial<Saved>,
    /** What is kept with the panel changed. */
    private readonly kept: () => void,
    /** What is shown changed, and is not kept. */
    private readonly shown: () => void,
  ) {
    this.restore(saved);
  }

  restore(saved: Partial<Saved>): void {
    this.pins = saved.pins ?? [];
    this.groups = saved.groups ?? [];
    this.names = saved.names ?? {};
  }

  /** For another tree. Names stay: they belong to ids. */
  forget(): void {
    this.pins = [];
    this.groups = [];
  }

  pin(id: string): void {
    this.pins = this.pins.includes(id) ? this.pins.filter((p) => p !== id) : [...this.pins, id];
    announce(`${this.pins.length} pinned`);
    this.kept();
  }

  /** Clears pins and a begun group. */
  clear(): void {
    this.pins = [];
    this.grouping = null;
    this.kept();
  }

  rename(id: string, name: string): void {
    const { [id]: _, ...others } = this.names;
    this.names = name.trim() === '' ? others : { ...others, [id]: name.trim() };
    this.kept();
  }

  group(members: string[]): void {
    if (members.length === 0) return;
    this.groups = [...this.groups, { name: `Supernode ${this.groups.length + 1}`, members }];
    this.pins = this.pins.filter((p) => !members.includes(p));
    announce(`Supernode of ${members.length} nodes`);
    this.kept();
  }

  ungroup(index: number): void {
    this.groups = this.groups.filter((_, i) => i !== index);
    this.kept();
  }

  renameGroup(index: number, name: string): void {
    this.groups = this.groups.map((g, i) => (i === index ? { ...g, name } : g));
    this.kept();
  }

  /** A node clicked while G is held joins or leaves the group; false when no group is being made. */
  groupClick(id: string): boolean {
    if (!this.grouping) return false;
    if (!this.grouping.delete(id)) this.grouping.add(id);
    this.shown();
    return true;
  }

  /** G was released: what was clicked becomes a supernode, else the pinned nodes. */
  commitGroup(): void {
    if (!this.grouping) return;
    const members = [...this.grouping];
    this.grouping = null;
    if (members.length > 0) this.group(members);
    else if (this.pins.length > 1) this.group(this.pins);
    else this.shown();
  }
}
