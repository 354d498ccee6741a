import type { DaemonProcess } from '../../daemon/client/spawn.ts'
import type { ContainerFlags } from '../commands/container/container-flags.ts'
import type { UnpackFlags } from '../commands/container/unpack.ts'
import type { DiffFlags } from '../commands/diff.ts'
import type { ExtractFlags } from '../commands/extract.ts'
import type { InspectFlags } from '../commands/inspect.ts'
import type { InstallLinksFlags } from '../commands/install-links.ts'
import type { LsFlags } from '../commands/ls.ts'
import type { CommitFlags } from '../commands/make/commit.ts'
import type { ConvertFlags } from '../commands/make/convert.ts'
import type { PackFlags } from '../commands/make/pack-options.ts'
import type { StatusFlags } from '../commands/status.ts'
import type { UmountFlags } from '../commands/umount.ts'
import type { VerifyFlags } from '../commands/verify.ts'
import type { DescribedCommand } from '../completion/index.ts'
import type { KeyFlags } from '../words/key-flags.ts'
import type { MountFlags } from '../words/mount-wish.ts'
import { mountOptionsHelp, overlayOptionsHelp } from './help.ts'
import { ALL_OVERLAY_ROWS, COMMAND_ROWS, MOUNT_ROWS } from './option-rows.ts'

/** All options of the program: each is described once, whichever commands take it. */
export const OPTIONS = {
  debug: ['--debug', 'log every request and decision'],
  shortDebug: ['-d, --debug', 'log every request and decision'],
  mountWords: ['-o <options>', 'mount options, separated by commas; may be repeated'],
  overlayWords: ['-o <options>', 'options of fuse-overlayfs, separated by commas; may be repeated'],
  foreground: ['-f, --foreground', 'serve from this process and end with the mount'],
  allowMissingVerity: [
    '--allow-missing-verity',
    'accept layers without a root hash; a wrong hash is always refused',
  ],
  store: ['--store <dir>', 'store of what is made of tar layers, instead of $ATOMFS_STORE or its default'],
  indexDir: ['--index-dir <dir>', 'directory for indexes of tar layers, beside the image for instance'],
  rootHash: ['--root-hash <hex>', 'trusted dm-verity root hash of a single image'],
  offset: ['--offset <bytes>', 'where the squashfs image starts in the file'],
  apptainer: [
    '--apptainer',
    'also names whose programs can more than ours, for Apptainer: fuse2fs, gocryptfs',
  ],
  key: ['--key <file>', 'of a SIF file: public key in PEM of who must have signed; may be repeated'],
  keyring: ['--keyring <file>', 'of a SIF file: keyring of OpenPGP keys that may have signed, for gpgv'],
  legacy: ['--legacy', 'of a SIF file: accept signatures from before 2020, which cover data alone'],
  passphraseFile: [
    '--passphrase-file <file>',
    'file with the passphrase of an encrypted image; else it is asked for on the terminal',
  ],
  kdfMemory: [
    '--kdf-memory <size>',
    'memory that deriving a key from a passphrase may take, with K, M or G (default: 2G)',
  ],
  kdfTime: ['--kdf-time <seconds>', 'time that it may take, estimated beforehand (default: 60)'],
  otherPassphraseFile: ['--other-passphrase-file <file>', 'for OTHER what --passphrase-file is for SOURCE'],
  verify: ['--verify <mode>', 'when to verify: auto, lazy or eager (default: auto)'],
  newMetadir: ['--metadir <dir>', 'folder for runtime data instead of /run/atomfs'],
  metadir: ['--metadir <dir>', 'folder for runtime data, as at the mount'],
  log: ['--log <file>', 'log there instead of the runtime folder; "syslog": to the system log'],
  logLevel: ['--log-level <level>', 'error, warn, info or debug (default: info; warn with -f)'],
  readyFd: ['--ready-fd <fd>', 'descriptor that gets a line when the mount serves'],
  driverPath: [
    '--driver-path <dirs>',
    'folders that hold the package of driver=, as NODE_PATH would name them',
  ],
  persist: ['--persist <dir>', 'writable: changes are kept in DIR/persist'],
  upper: ['--upper <dir>', 'writable: changes are kept in DIR'],
  writeable: ['--writeable', 'writable: changes are thrown away at the end'],
  writable: ['--writable', 'the same as --writeable'],
  lazy: ['-l, --lazy', 'detach now and end when the last file is closed'],
  json: ['--json', 'print JSON'],
  usage: ['--usage', 'count what each layer adds, replaces and hides; done by itself for small images'],
  top: ['--top <n>', 'list so many of the largest files and directories (default: 10); implies --usage'],
  html: ['--html <file>', 'write a page for browsers to FILE as a whole; "-": to standard output'],
  watch: ['--watch [seconds]', 'print again every so many seconds (default: 2), on a terminal in place'],
  metrics: ['--metrics <file>', 'write metrics for Prometheus to FILE as a whole; "-": to standard output'],
  compression: ['--compression <name>', 'gzip, xz, lz4 or zstd (default), with a level as in zstd:19'],
  blockSize: ['--block-size <size>', 'bytes of a data block, 4K to 1M (default: 128K)'],
  noFragments: ['--no-fragments', 'give small files blocks of their own'],
  tailEnds: ['--tail-ends', 'put the tail ends of larger files into fragments, too'],
  noDuplicates: ['--no-duplicates', 'store equal files as often as there are'],
  noExport: ['--no-export', 'write no table for NFS'],
  noPadding: ['--no-padding', 'do not fill the image up to a multiple of 4 KiB'],
  uncompressed: [
    '--uncompressed <parts>',
    'store as they are: of inodes,data,fragments,xattrs,ids, with commas',
  ],
  whiteouts: [
    '--whiteouts <form>',
    'what deletions of a layer become: overlay: those of overlayfs; aufs: .wh. names; none: as they are (default)',
  ],
  exclude: [
    '--exclude <pattern>',
    'leave out what matches, such as "*.pyc" or /usr/share/doc; may be repeated',
  ],
  sort: ['--sort <file>', 'list of paths and priorities: data of files with high ones come first'],
  subdir: ['--subdir <path>', 'make an image of this directory of SOURCE only'],
  uidMap: [
    '--uid-map <ranges>',
    'STORED:SHOWN:COUNT[:...]: owners of SOURCE from STORED on become those from SHOWN on',
  ],
  gidMap: ['--gid-map <ranges>', 'the same for groups'],
  rootMode: ['--root-mode <mode>', 'permissions of the root directory, as in 0755'],
  rootOwner: ['--root-owner <uid:gid>', 'owner of the root directory, in numbers'],
  allRoot: ['--all-root', 'give everything to user and group 0'],
  noVerity: ['--no-verity', 'append no hash tree'],
  salt: ['--salt <hex>', 'salt of the hash tree (default: a hash of the image)'],
  threads: ['--threads <n>', 'threads that compress (default: as many as there are CPUs)'],
  force: ['--force', 'replace FILE if it exists'],
  platform: [
    '--platform <platform>',
    'os/architecture[/variant] to choose from an image for several (default: this machine)',
  ],
  recompress: ['--recompress', 'make squashfs layers anew, too, instead of copying them'],
  strict: ['--strict', 'exit with 1 where there is a warning'],
  quiet: ['-q, --quiet', 'print nothing but errors'],
  contentsWords: [
    '-o <options>',
    'of the options of mount those that say what is seen: subdir=, offset=, uid=, gid=, …; may be repeated',
  ],
  into: ['--force', 'extract into a directory that is not empty, and replace files'],
  owners: [
    '--owners <owners>',
    'real: files get their owners (default as root); override: they are written down in an attribute; none: all is yours',
  ],
  long: ['-l, --long', 'with type, mode, owner, size (of devices: the numbers) and time (UTC)'],
  recursive: ['-R, --recursive', 'with everything below; paths are printed from the root of the image'],
  ignore: [
    '--ignore <what>',
    'differences that do not count, separated by commas: type,mode,owner,size,content,mtime,xattrs,target,device',
  ],
  otherWords: ['--other-options <options>', 'for OTHER what -o is for SOURCE; may be repeated'],
  otherRootHash: ['--other-root-hash <hex>', 'for OTHER what --root-hash is for SOURCE'],
  otherOffset: ['--other-offset <bytes>', 'for OTHER what --offset is for SOURCE'],
  squash: ['--squash', 'make one layer of all that is shown'],
  writers: ['--threads <n>', 'threads that decode and write (default: as many as there are CPUs)'],
  env: ['--env <variable>', 'NAME=VALUE for the container, or NAME for the value here; may be repeated'],
  containerMount: [
    '--mount <mount>',
    'SOURCE:TARGET[:ro], or type=bind|tmpfs,source=…,target=…[,readonly][,size=…]; may be repeated',
  ],
  entrypoint: ['--entrypoint <program>', 'in place of that of the image; "": none'],
  user: ['--user <user>', 'USER[:GROUP] by name or number, in place of the one of the image'],
  workdir: ['--workdir <path>', 'working directory in the container'],
  hostname: ['--hostname <name>', 'name of the machine in the container (default: container)'],
  network: ['--network <network>', 'host: that of this machine; none: loopback alone (default)'],
  readOnly: ['--read-only', 'the container cannot change its root file system'],
  size: ['--size <size>', 'bytes of changes that the container may make, with K, M or G; ENOSPC beyond'],
  memory: ['--memory <size>', 'memory that the container may use; for root of the machine'],
  cpus: ['--cpus <n>', 'CPUs that the container may use, as in 1.5 or 500m; for root of the machine'],
  runtime: ['--runtime <program>', 'what starts the container (default: crun or runc)'],
} as const satisfies Readonly<Record<string, readonly [flags: string, text: string]>>

/** How the keys of an encrypted SOURCE are found, by each command that reads one. */
const KEY_OPTIONS = [OPTIONS.passphraseFile, OPTIONS.kdfMemory, OPTIONS.kdfTime] as const

/** How SOURCE is read, by each command that reads one without a mount. */
const SOURCE_OPTIONS = [
  OPTIONS.contentsWords,
  OPTIONS.allowMissingVerity,
  OPTIONS.rootHash,
  OPTIONS.offset,
  ...KEY_OPTIONS,
] as const

/** How an image is made, by each command that makes one. */
const IMAGE_OPTIONS = [
  OPTIONS.compression,
  OPTIONS.blockSize,
  OPTIONS.noFragments,
  OPTIONS.tailEnds,
  OPTIONS.noDuplicates,
  OPTIONS.noExport,
  OPTIONS.noPadding,
  OPTIONS.uncompressed,
  OPTIONS.allRoot,
  OPTIONS.noVerity,
  OPTIONS.salt,
  OPTIONS.threads,
  OPTIONS.strict,
] as const

/** What commander makes of the options of any command. */
export type Flags = KeyFlags &
  MountFlags &
  UmountFlags &
  VerifyFlags &
  StatusFlags &
  InspectFlags &
  PackFlags &
  ExtractFlags &
  LsFlags &
  DiffFlags &
  ConvertFlags &
  CommitFlags &
  UnpackFlags &
  ContainerFlags &
  InstallLinksFlags

/** A command, and what shells, `--help` and the man page know of it. */
export interface CommandRow extends DescribedCommand {
  /** Behind the options in `--help`. */
  readonly help?: () => string
  /** @param args as many as there are. @returns the exit code */
  readonly run: (args: readonly string[], flags: Flags, early?: DaemonProcess) => Promise<number>
}

// The code of a command is loaded when it runs.
export const COMMANDS: readonly CommandRow[] = [
  {
    name: 'mount',
    description:
      'mount SOURCE (OCIDIR:TAG, OCIDIR@DIGEST, OCIDIR, a squashfs file or a directory) on the directory TARGET',
    arguments: ['<source>', '<target>'],
    kinds: ['source', 'directory'],
    options: [
      OPTIONS.store,
      OPTIONS.indexDir,
      OPTIONS.mountWords,
      OPTIONS.foreground,
      OPTIONS.allowMissingVerity,
      OPTIONS.rootHash,
      OPTIONS.offset,
      ...KEY_OPTIONS,
      OPTIONS.verify,
      OPTIONS.newMetadir,
      OPTIONS.log,
      OPTIONS.logLevel,
      OPTIONS.readyFd,
      OPTIONS.driverPath,
      OPTIONS.persist,
      OPTIONS.upper,
      OPTIONS.writeable,
      OPTIONS.writable,
      OPTIONS.debug,
    ],
    words: [...MOUNT_ROWS, ...COMMAND_ROWS],
    help: mountOptionsHelp,
    run: async ([source = '', target = ''], flags, early) =>
      (await import('../commands/mount.ts')).mount(source, target, flags, early),
  },
  {
    name: 'overlay',
    description: 'merge directories: -o lowerdir=A:B[,upperdir=U,workdir=W] on the directory TARGET',
    arguments: ['<target...>'],
    kinds: ['directory'],
    options: [
      OPTIONS.overlayWords,
      OPTIONS.foreground,
      OPTIONS.newMetadir,
      OPTIONS.log,
      OPTIONS.logLevel,
      OPTIONS.shortDebug,
      ...KEY_OPTIONS,
    ],
    words: ALL_OVERLAY_ROWS,
    help: overlayOptionsHelp,
    run: async (words, flags, early) => (await import('../commands/overlay.ts')).overlay(words, flags, early),
  },
  {
    name: 'umount',
    alias: 'unmount',
    description: 'unmount TARGET and wait until its process has ended',
    arguments: ['<target>'],
    kinds: ['mount'],
    options: [OPTIONS.lazy, OPTIONS.metadir],
    run: async ([target = ''], flags) => (await import('../commands/umount.ts')).umount(target, flags),
  },
  {
    name: 'verify',
    description: 'compare with the root hashes: what a mounted TARGET has found so far, or a whole SOURCE',
    arguments: ['<target|source>'],
    kinds: ['mount-or-source'],
    options: [
      OPTIONS.store,
      OPTIONS.indexDir,
      OPTIONS.rootHash,
      OPTIONS.offset,
      ...KEY_OPTIONS,
      OPTIONS.key,
      OPTIONS.keyring,
      OPTIONS.legacy,
      OPTIONS.metadir,
      OPTIONS.json,
    ],
    run: async ([what = ''], flags) => (await import('../commands/verify.ts')).verify(what, flags),
  },
  {
    name: 'status',
    description: 'show the mount at TARGET, or all mounts: layers, verification, requests, memory',
    arguments: ['[target]'],
    kinds: ['mount'],
    options: [OPTIONS.metadir, OPTIONS.json, OPTIONS.watch, OPTIONS.metrics],
    run: async ([target], flags) => (await import('../commands/status.ts')).status(target, flags),
  },
  {
    name: 'inspect',
    description: 'show the layers of SOURCE: sizes, compression, verity, what each changes, what is largest',
    arguments: ['<source>'],
    kinds: ['source'],
    options: [
      OPTIONS.store,
      OPTIONS.indexDir,
      OPTIONS.offset,
      ...KEY_OPTIONS,
      OPTIONS.usage,
      OPTIONS.top,
      OPTIONS.html,
      OPTIONS.json,
    ],
    run: async ([source = ''], flags) => (await import('../commands/inspect.ts')).inspect(source, flags),
  },
  {
    name: 'pack',
    description:
      'make the squashfs image FILE of SOURCE, print its root hash; SOURCE is a directory, a tar archive, "-": one on ' +
      'stdin, or what can be mounted: OCIDIR:TAG, an image file',
    arguments: ['<source>', '<file>'],
    kinds: ['source', 'file'],
    options: [
      ...IMAGE_OPTIONS,
      OPTIONS.exclude,
      OPTIONS.subdir,
      OPTIONS.sort,
      OPTIONS.whiteouts,
      OPTIONS.uidMap,
      OPTIONS.gidMap,
      OPTIONS.rootMode,
      OPTIONS.rootOwner,
      ...SOURCE_OPTIONS,
      OPTIONS.force,
      OPTIONS.quiet,
      OPTIONS.json,
    ],
    run: async ([directory = '', file = ''], flags) =>
      (await import('../commands/make/pack.ts')).pack(directory, file, flags),
  },
  {
    name: 'extract',
    description:
      'write what SOURCE holds into the directory DIR: all of it, or the PATHS, in which * and ? work',
    arguments: ['<source>', '<dir>', '[paths...]'],
    kinds: ['source', 'directory', 'any'],
    options: [
      OPTIONS.store,
      OPTIONS.indexDir,
      ...SOURCE_OPTIONS,
      OPTIONS.owners,
      OPTIONS.writers,
      OPTIONS.into,
      OPTIONS.strict,
      OPTIONS.quiet,
      OPTIONS.json,
    ],
    run: async ([source = '', dir = '', ...paths], flags) =>
      (await import('../commands/extract.ts')).extract(source, dir, paths, flags),
  },
  {
    name: 'ls',
    description: 'list a directory of SOURCE (default: its root), or one file, without a mount',
    arguments: ['<source>', '[path]'],
    kinds: ['source', 'any'],
    options: [
      OPTIONS.store,
      OPTIONS.indexDir,
      OPTIONS.long,
      OPTIONS.recursive,
      ...SOURCE_OPTIONS,
      OPTIONS.json,
    ],
    run: async ([source = '', path = '/'], flags) =>
      (await import('../commands/ls.ts')).ls(source, path, flags),
  },
  {
    name: 'cat',
    description: 'print files of SOURCE without a mount',
    arguments: ['<source>', '<paths...>'],
    kinds: ['source', 'any'],
    options: [OPTIONS.store, OPTIONS.indexDir, ...SOURCE_OPTIONS],
    run: async ([source = '', ...paths], flags) =>
      (await import('../commands/cat.ts')).cat(source, paths, flags),
  },
  {
    name: 'diff',
    description:
      'print a line for each path in which two SOURCES differ (A: only in the second, D: only in the first, M); exit 1 if any, 2 on errors',
    arguments: ['<source>', '<other>'],
    kinds: ['source', 'source'],
    options: [
      OPTIONS.store,
      OPTIONS.indexDir,
      OPTIONS.ignore,
      ...SOURCE_OPTIONS,
      OPTIONS.otherWords,
      OPTIONS.otherRootHash,
      OPTIONS.otherOffset,
      OPTIONS.otherPassphraseFile,
      OPTIONS.quiet,
      OPTIONS.json,
    ],
    run: async ([one = '', other = ''], flags) =>
      (await import('../commands/diff.ts')).diff(one, other, flags),
  },
  {
    name: 'convert',
    description:
      'make an image of squashfs layers in the OCI layout OCIDIR, of SOURCE: OCIDIR:TAG, docker-archive:FILE[:NAME], ' +
      'oci-archive:FILE[:TAG], a directory, an image file, a tar archive, or "-": one on stdin',
    arguments: ['<source>', '<target>'],
    kinds: ['source', 'source'],
    options: [
      OPTIONS.platform,
      OPTIONS.squash,
      OPTIONS.recompress,
      OPTIONS.contentsWords,
      OPTIONS.rootHash,
      OPTIONS.offset,
      ...KEY_OPTIONS,
      ...IMAGE_OPTIONS,
      OPTIONS.quiet,
      OPTIONS.json,
    ],
    run: async ([source = '', target = ''], flags) =>
      (await import('../commands/make/convert.ts')).convert(source, target, flags),
  },
  {
    name: 'commit',
    description:
      'make an image of the writable mount at TARGET in the OCI layout OCIDIR: its layers, and one more of its changes, which wait meanwhile',
    arguments: ['<target>', '<image>'],
    kinds: ['mount', 'source'],
    options: [OPTIONS.squash, ...IMAGE_OPTIONS, ...KEY_OPTIONS, OPTIONS.metadir, OPTIONS.quiet, OPTIONS.json],
    run: async ([target = '', image = ''], flags) =>
      (await import('../commands/make/commit.ts')).commit(target, image, flags),
  },
  {
    name: 'store',
    description:
      'look after the indexes of tar layers: ls, verify, gc (removes what is of no use), or rm and digests of layers',
    arguments: ['<action>', '[digests...]'],
    kinds: ['any', 'any'],
    options: [OPTIONS.store, OPTIONS.json],
    run: async ([action = '', ...digests], flags) =>
      (await import('../commands/store.ts')).store(action, digests, flags),
  },
  {
    name: 'unpack',
    description:
      'write each layer of SOURCE, which is as for convert, into a directory below DIR, as overlays read it; print the lowerdir= for them',
    arguments: ['<source>', '<dir>'],
    kinds: ['source', 'directory'],
    options: [OPTIONS.owners, OPTIONS.platform, OPTIONS.quiet, OPTIONS.json],
    run: async ([source = '', dir = ''], flags) =>
      (await import('../commands/container/unpack.ts')).unpack(source, dir, flags),
  },
  {
    name: 'run',
    description:
      'run a container of SOURCE by crun or runc, with COMMAND in place of the command of its image; remove it when it ends',
    arguments: ['<source>', '[command...]'],
    kinds: ['source', 'any'],
    options: [
      OPTIONS.store,
      OPTIONS.indexDir,
      OPTIONS.env,
      OPTIONS.containerMount,
      OPTIONS.entrypoint,
      OPTIONS.user,
      OPTIONS.workdir,
      OPTIONS.hostname,
      OPTIONS.network,
      OPTIONS.readOnly,
      OPTIONS.size,
      OPTIONS.memory,
      OPTIONS.cpus,
      OPTIONS.runtime,
      OPTIONS.contentsWords,
      OPTIONS.allowMissingVerity,
      OPTIONS.rootHash,
      OPTIONS.offset,
      ...KEY_OPTIONS,
      OPTIONS.newMetadir,
    ],
    run: async ([source = '', ...command], flags) =>
      (await import('../commands/container/run.ts')).run(source, command, flags),
  },
  {
    name: 'bundle',
    description:
      "'bundle create SOURCE DIR': make a bundle for OCI runtimes, config.json and the mounted rootfs; 'bundle rm DIR': remove it",
    arguments: ['<action>', '<source|dir>', '[dir...]'],
    kinds: ['any', 'source', 'directory'],
    options: [
      OPTIONS.store,
      OPTIONS.indexDir,
      OPTIONS.env,
      OPTIONS.containerMount,
      OPTIONS.entrypoint,
      OPTIONS.user,
      OPTIONS.workdir,
      OPTIONS.hostname,
      OPTIONS.network,
      OPTIONS.readOnly,
      OPTIONS.size,
      OPTIONS.memory,
      OPTIONS.cpus,
      OPTIONS.runtime,
      OPTIONS.contentsWords,
      OPTIONS.allowMissingVerity,
      OPTIONS.rootHash,
      OPTIONS.offset,
      ...KEY_OPTIONS,
      OPTIONS.newMetadir,
    ],
    run: async ([action = '', ...words], flags) =>
      (await import('../commands/container/bundle.ts')).bundle(action, words, flags),
  },
  {
    name: 'doctor',
    description: 'check what mounts need on this machine; exit 0 if some way to mount works',
    arguments: [],
    kinds: [],
    options: [OPTIONS.json],
    run: async (_, { json = false }) => (await import('../commands/doctor.ts')).doctor(json),
  },
  {
    name: 'install-links',
    description: 'make links in DIR for the other names of the program, or for those given',
    arguments: ['<dir>', '[names...]'],
    kinds: ['directory', 'name'],
    options: [OPTIONS.apptainer],
    run: async ([dir = '', ...names], flags) =>
      (await import('../commands/install-links.ts')).installLinks(dir, names, flags),
  },
  {
    name: 'completion',
    description: 'print the completion script of SHELL: bash, zsh or fish',
    arguments: ['<shell>'],
    kinds: ['shell'],
    options: [],
    run: async ([shell = '']) =>
      (await import('../commands/completion.ts')).completion(shell, {
        options: [OPTIONS.debug],
        commands: COMMANDS,
      }),
  },
]
