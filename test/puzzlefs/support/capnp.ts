import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The metadata of an image, as puzzlefs describes them. */
const SCHEMA = `@0x84ae5e6e88b7cbb7;
struct Chr { major @0 :UInt64; minor @1 :UInt64; }
struct Blk { major @0 :UInt64; minor @1 :UInt64; }
struct DirEntry { ino @0 :UInt64; name @1 :Data; }
struct Dir { entries @0 :List(DirEntry); lookBelow @1 :Bool; }
struct BlobRef { digest @0 :Data; offset @1 :UInt64; compressed @2 :Bool; }
struct FileChunk { blob @0 :BlobRef; len @1 :UInt64; }
struct Xattr { key @0 :Data; val @1 :Data; }
struct InodeAdditional { xattrs @0 :List(Xattr); symlinkTarget @1 :Data; }
struct VerityData { digest @0 :Data; verity @1 :Data; }
struct Inode {
  ino @0 :UInt64;
  mode :union {
    unknown @1 :Void; fifo @2 :Void; chr @3 :Chr; dir @4 :Dir; blk @5 :Blk; file @6 :List(FileChunk);
    lnk @7 :Void; sock @8 :Void; wht @9 :Void;
  }
  uid @10 :UInt32; gid @11 :UInt32; permissions @12 :UInt16; additional @13 :InodeAdditional;
}
struct InodeVector { inodes @0 :List(Inode); }
struct Rootfs { metadatas @0 :List(InodeVector); fsVerityData @1 :List(VerityData); manifestVersion @2 :UInt64; }
`

/** Bytes. Absent where the pointer is null. */
type Data = readonly number[] | undefined

export interface DecodedPiece {
  readonly blob?: { readonly digest?: Data; readonly offset: string; readonly compressed: boolean }
  readonly len: string
}

export interface DecodedInode {
  readonly ino: string
  readonly mode: {
    readonly chr?: { readonly major: string; readonly minor: string } | undefined
    readonly blk?: { readonly major: string; readonly minor: string } | undefined
    readonly dir?: { readonly entries?: readonly { readonly ino: string; readonly name?: Data }[] }
    readonly file?: readonly DecodedPiece[]
  }
  readonly uid: number
  readonly gid: number
  readonly permissions: number
  readonly additional?: {
    readonly xattrs?: readonly { readonly key?: Data; readonly val?: Data }[]
    readonly symlinkTarget?: Data
  }
}

/** A message as capnp(1) reads it: numbers of 64 bits are text. */
export interface DecodedRootfs {
  readonly metadatas?: readonly { readonly inodes?: readonly DecodedInode[] }[]
  readonly manifestVersion: string
}

/** Writes the schema for capnp(1). @returns its path */
export function writeSchema(folder: string): string {
  const file = join(folder, 'metadata.capnp')
  writeFileSync(file, SCHEMA)
  return file
}

/** What capnp(1) reads of a message; undefined where it does not accept it. */
export function decodeByCapnp(schema: string, rootfs: Uint8Array): DecodedRootfs | undefined {
  const { status, stdout } = spawnSync('capnp', ['convert', 'binary:json', schema, 'Rootfs'], {
    input: rootfs,
    encoding: 'utf8',
    timeout: 20_000,
    maxBuffer: 64 << 20,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  if (status !== 0) return undefined
  try {
    return JSON.parse(stdout) as DecodedRootfs
  } catch {
    return undefined
  }
}
