import { UsageError } from '../../../base/index.ts'
import { type BundleRequest, type Network, parseMount, type SpecOptions } from '../../../bundle/index.ts'
import { parseSize } from '../../../request/index.ts'
import { absolutePath } from '../../../sys/files/working-directory.ts'
import { contentsRequest, type SourceFlags } from '../source-flags.ts'

/** What commander makes of the options that say how a container differs from its image. */
export interface ContainerFlags extends SourceFlags {
  readonly env?: readonly string[]
  readonly mount?: readonly string[]
  readonly entrypoint?: string
  readonly user?: string
  readonly workdir?: string
  readonly hostname?: string
  readonly network?: string
  readonly readOnly?: boolean
  readonly size?: string
  readonly memory?: string
  readonly cpus?: string
  readonly runtime?: string
  readonly metadir?: string
}

/**
 * @param command in place of that of the image; none where it is empty
 * @throws UsageError
 */
export function containerRequest(
  source: string,
  command: readonly string[],
  flags: ContainerFlags,
): Omit<BundleRequest, 'directory'> & { readonly runtime?: string | undefined } {
  const { env, user, workdir, hostname, readOnly, cpus, runtime } = flags
  const spec: SpecOptions = {
    args: command.length === 0 ? undefined : command,
    entrypoint:
      flags.entrypoint === undefined ? undefined : flags.entrypoint === '' ? [] : [flags.entrypoint],
    mounts: flags.mount?.map((text) => parseMount(text, sizeOf('--mount … size='))),
    network: flags.network === undefined ? undefined : networkOf(flags.network),
    memory: flags.memory === undefined ? undefined : sizeOf('--memory')(flags.memory),
    ...{ env, user, workdir, hostname, readOnly, cpus },
  }
  return {
    ...contentsRequest(source, flags),
    spec,
    size: flags.size === undefined ? undefined : sizeOf('--size')(flags.size),
    metadataDir: flags.metadir === undefined ? undefined : absolutePath(flags.metadir),
    runtime,
  }
}

function networkOf(text: string): Network {
  if (text === 'host' || text === 'none') return text
  throw new UsageError(
    `--network ${JSON.stringify(text)}: host, the network of this machine, or none is needed`,
  )
}

const LARGEST = 2 ** 50

/** Bytes, with K, M or G as in all options of the program. */
function sizeOf(option: string): (text: string) => number {
  return (text) => parseSize(option, text, 4096, LARGEST)
}
