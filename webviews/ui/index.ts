/** What panels are built from: elements, controls, numbers, heat maps. Knows nothing of circuits. */
export { busy, button, checkbox, dropdown, registerControls, slider, textField } from './controls';
export { fill, h, svg } from './dom';
export { quoted, share, signed, unpack } from './format';
export { heatClass, heatTable, maxAbs, strongestColumns } from './heat';
