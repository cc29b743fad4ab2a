import manifest from '../../../package.json';

/** Version of this package. */
export const { version } = manifest;
