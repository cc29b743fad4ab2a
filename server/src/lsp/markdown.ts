import { quote } from '../text';

/** Makes any text literal in markdown, links, images, HTML and code included. */
export function escapeMarkdown(text: string): string {
  return text.replace(/[\\`*_{}[\]()#+\-.!|<>~&$:@^="']/g, (c) =>
    c === '<' ? '&lt;' : c === '&' ? '&amp;' : `\\${c}`,
  );
}

/** A token between ‘ ’, control characters made visible, escaped. */
export const token = (text: string): string => escapeMarkdown(quote(text));

/** A link that runs a command; the arguments are encoded so that nothing in them ends the link. */
export function commandLink(label: string, command: string, args: unknown): string {
  const encoded = encodeURIComponent(JSON.stringify([args])).replace(
    /[()'*!~]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `[${label}](command:${command}?${encoded})`;
}
