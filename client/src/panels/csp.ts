/** The toolkit leaves one empty inline style behind; this is its hash. */
const EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";

/** The content security policy of a panel: our script by nonce, our styles, images drawn by ourselves, nothing remote. */
export const contentSecurityPolicy = (cspSource: string, nonce: string): string =>
  `default-src 'none'; script-src 'nonce-${nonce}'; style-src ${cspSource} ${EMPTY_STYLE}; img-src data: blob:; font-src ${cspSource}`;
