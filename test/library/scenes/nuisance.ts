import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** Clients of a shared server that do what no client does. */

/**
 * Words: the socket, what each connection does, and how many there are. All are held until standard input ends. Says how
 * many are there. Python can send descriptors.
 */
const PROGRAM = `
import array, json, os, socket, sys
address, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.chdir(os.path.dirname(address))
address = os.path.basename(address)
def message(value):
    text = json.dumps(value).encode()
    return len(text).to_bytes(4, 'little') + text
def rights(n):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [spare.fileno()] * n))]
def act(s):
    if kind == 'half': s.send(message({'key': 'x' * 1000})[:500])
    elif kind == 'huge': s.send(b'\\xff\\xff\\xff\\xff' + b'x' * 1000)
    elif kind == 'slow': s.send((4 << 20).to_bytes(4, 'little') + b'x' * 60000)
    elif kind == 'descriptors':
        for _ in range(3): s.sendmsg([b'\\x08'], rights(250))
    elif kind == 'few':
        for _ in range(8): s.sendmsg([b'\\x08\\x00\\x00\\x00'], rights(1))
    elif kind == 'nonsense':
        values = [None, [], 7, {}, {'key': 1}, {'key': 'x', 'program': 3, 'words': None}]
        s.sendmsg([message(values[len(held) % len(values)])], rights(1 + len(held) % 2))
    elif kind == 'early': s.close()
held, spare = [], socket.socket()
for _ in range(count):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if kind == 'full': s.setblocking(False)
    try:
        s.connect(address)
        act(s)
    except BlockingIOError: break
    except (BrokenPipeError, ConnectionResetError): pass
    held.append(s)
print(len(held), flush=True)
sys.stdin.read()
`

/** What a connection does, beside being there. */
export type Nuisance =
  /** Nothing. */
  | 'silent'
  | 'half'
  | 'huge'
  | 'slow'
  | 'descriptors'
  | 'few'
  | 'nonsense'
  | 'early'
  /** Nobody accepts: as many as the socket takes. */
  | 'full'

/** Runs `play` while such clients are there. @param play is told how many */
export async function besideNuisance(
  socket: string,
  [kind, count]: readonly [Nuisance, number],
  play: (present: number) => Promise<void>,
): Promise<void> {
  const words = ['-c', PROGRAM, socket, kind, `${count}`]
  const child = spawn('python3', words, { stdio: ['pipe', 'pipe', 'inherit'] })
  try {
    const [said] = (await once(child.stdout, 'data', { signal: AbortSignal.timeout(60_000) })) as [Buffer]
    await play(Number(said.toString()))
  } finally {
    await ended(child)
  }
}

async function ended(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
}
