import type { Secret } from './secret.ts'
import { wipeSecret } from './secret.ts'

/** How an encrypted image is read. Plain data without the key. Positions and sizes in bytes from the start of the image. */
export type Unlocked = UnlockedLuks | UnlockedGocryptfs

export interface UnlockedLuks {
  readonly form: 'luks2'
  /** `lockId` of the image. */
  readonly id: string
  readonly keySize: number
  /** The encrypted segment. */
  readonly offset: number
  readonly size: number
  readonly sectorSize: number
  /** Number of the first sector for the cipher, in units of 512 bytes. */
  readonly ivTweak: number
}

export interface UnlockedGocryptfs {
  readonly form: 'gocryptfs'
  readonly id: string
  readonly keySize: number
  /** Where the encrypted file lies in its image, in order. */
  readonly pieces: readonly FilePiece[]
  /** Hex. */
  readonly fileId: string
}

/** A part of a file that an image stores as it is; absent `position`: a hole. */
export interface FilePiece {
  readonly position?: number
  readonly length: number
}

interface Held {
  readonly unlocked: Unlocked
  readonly key: Secret
}

/**
 * The keys of this process, by what they open. They are no part of requests, which are plain data: those go through
 * pipes, into messages and logs.
 */
const ring = new Map<string, Held>()

/**
 * Keeps a key in this process, and wipes the one before of the same image. The keyring owns `key` from then on.
 */
export function addKey(unlocked: Unlocked, key: Secret): void {
  const before = ring.get(unlocked.id)
  if (before !== undefined) wipeSecret(before.key)
  ring.set(unlocked.id, { unlocked, key })
}

/** The key of an image by its id, and how it was unlocked; undefined where this process has none. */
export function heldKey(id: string): Held | undefined {
  return ring.get(id)
}

/** Whether this process has keys at all. */
export function hasKeys(): boolean {
  return ring.size > 0
}

/** Overwrites all keys of this process. Images that are open cannot be read any more. */
export function wipeKeys(): void {
  for (const { key } of ring.values()) wipeSecret(key)
  ring.clear()
}
