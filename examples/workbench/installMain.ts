/** Installs the browser workbench if it is not there, and says where. */
import { installWorkbench } from './install';

console.log(`workbench: ${installWorkbench().codeServer}`);
