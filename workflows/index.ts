// The workflows of holdfast, for the bundle. Exports only.
export { backup } from './backup.js';
export { plan } from './plan.js';
export { request } from './request.js';
export { restore } from './restore.js';
export { rollback } from './rollback.js';
export { scheduled } from './scheduled.js';
export { verify } from './verify.js';
