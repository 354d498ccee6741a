/** Variables that a daemon, and what it starts, looks at. */
const NAMES: ReadonlySet<string> = new Set([
  // Where programs, and files that are gone soon, are.
  ...['PATH', 'HOME', 'TMPDIR', 'TMP', 'TEMP'],
  // Times and words in logs.
  ...['TZ', 'LANG', 'LANGUAGE'],
  // Sockets of the service manager and of its log (sd_notify(3), systemd.exec(5)).
  ...['NOTIFY_SOCKET', 'JOURNAL_STREAM', 'INVOCATION_ID'],
  'FUSERMOUNT_PROG',
])

const PREFIXES = ['ATOMFS_', 'XDG_', 'LC_', 'FUSE_OVERLAYFS_'] as const

/**
 * Settings of the daemon's C library. With an arena for each thread glibc opens `/proc/sys/vm/overcommit_memory` when
 * one shrinks for the first time (malloc/arena.c:shrink_heap): an absolute path, which may lead into the mount that the
 * very thread serves (src/sys/plain/proc.ts). One arena also holds less memory. The threshold is the default of glibc,
 * which no longer rises once it is set: large buffers have mappings of their own, of which only what is used is there.
 */
const OWN = { MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '131072' } as const

/**
 * The environment that a daemon gets: these variables of its caller and no others, because many more decide what code
 * a process of Node loads (NODE_OPTIONS, NODE_PATH, LD_PRELOAD, LD_LIBRARY_PATH, NAPI_RS_NATIVE_LIBRARY_PATH), or cost
 * time at every start (NODE_EXTRA_CA_CERTS: 30 ms).
 */
export function daemonEnvironment(caller: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const passed = Object.entries(caller).filter(([name]) => isPassed(name))
  return { ...Object.fromEntries(passed), ...OWN }
}

function isPassed(name: string): boolean {
  return NAMES.has(name) || PREFIXES.some((prefix) => name.startsWith(prefix))
}

/** What shells set by themselves. */
const OF_SHELLS: ReadonlySet<string> = new Set(['PWD', 'OLDPWD', 'SHLVL', '_'])

/**
 * Makes the environment of this process that of a daemon, where a shell has done so already as well as it can.
 * @returns false where other variables were there when the process began
 */
export function scrubEnvironment(environment: NodeJS.ProcessEnv = process.env): boolean {
  let isClean = true
  for (const name of Object.keys(environment)) {
    if (isPassed(name) || Object.hasOwn(OWN, name)) continue
    delete environment[name]
    isClean &&= OF_SHELLS.has(name)
  }
  return isClean
}
