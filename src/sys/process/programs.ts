import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Where programs of the system lie, whatever PATH says. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin']

/** Paths of all programs of a name that this user may run: those of PATH first, and in its order. */
export function programsNamed(name: string): readonly string[] {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS]
  return [...new Set(folders)]
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => join(folder, name))
    .filter((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}
