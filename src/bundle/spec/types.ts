/**
 * `config.json` of an OCI runtime bundle (runtime-spec: config.md, config-linux.md): the parts of it that are written here.
 */
export interface RuntimeSpec {
  readonly ociVersion: string
  readonly process: RuntimeProcess
  readonly root: { readonly path: string; readonly readonly: boolean }
  readonly hostname: string
  readonly mounts: readonly SpecMount[]
  readonly annotations?: Readonly<Record<string, string>>
  readonly linux: LinuxSpec
}

export interface RuntimeProcess {
  readonly terminal: boolean
  /** Characters; crun gives the terminal of a container no size without it. */
  readonly consoleSize?: { readonly height: number; readonly width: number }
  readonly user: SpecUser
  readonly args: readonly string[]
  /** `NAME=VALUE`. */
  readonly env: readonly string[]
  /** Absolute. */
  readonly cwd: string
  readonly capabilities: Readonly<Record<CapabilitySet, readonly string[]>>
  readonly noNewPrivileges: boolean
}

export type CapabilitySet = 'bounding' | 'effective' | 'inheritable' | 'permitted' | 'ambient'

export interface SpecUser {
  readonly uid: number
  readonly gid: number
  readonly additionalGids?: readonly number[]
}

export interface SpecMount {
  /** Absolute, in the container. */
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

export interface LinuxSpec {
  readonly namespaces: readonly { readonly type: string }[]
  readonly uidMappings?: readonly SpecMapping[]
  readonly gidMappings?: readonly SpecMapping[]
  readonly maskedPaths: readonly string[]
  readonly readonlyPaths: readonly string[]
  readonly resources?: SpecResources
}

export interface SpecMapping {
  readonly containerID: number
  readonly hostID: number
  readonly size: number
}

export interface SpecResources {
  readonly devices: readonly { readonly allow: boolean; readonly access: string }[]
  /** Bytes. */
  readonly memory?: { readonly limit: number }
  readonly cpu?: CpuLimit
  readonly pids?: { readonly limit: number }
}

/** Shares of 1024 a CPU, and microseconds of a CPU in each period. */
export interface CpuLimit {
  readonly shares: number
  readonly quota: number
  readonly period: number
}
