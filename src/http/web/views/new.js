export function open() { return { close() {} }; }
