export { wipeKeys } from '../../crypt/index.ts'
export { type UnlockRequest, unlockSource } from './unlock.ts'
