import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { WorkDirectory } from '../../../../overlay/upper/disk/work-directory.ts'
import { probeUpper } from '../../../../overlay/upper/upper-policy.ts'
import { O_PATH } from '../../../../src/sys/files/at.ts'
import { setUmask0 } from '../../../../src/sys/process/session.ts'
import { Random } from '../../../library/trees/random.ts'
import { describeTree, runRandom } from './operations.ts'
import { TreeSide } from './tree-side.ts'

/**
 * Random operations on a tree as the user it runs as: `FOLDER SEED STEPS`, where the folder has `lower`, `upper` and
 * `work`. Prints the policy, all outcomes, and the tree in the end as it is after a remount.
 */
const [folder = '', seed = '0', steps = '0'] = process.argv.slice(2)
setUmask0()
const places = { lowers: [join(folder, 'lower')], upper: join(folder, 'upper'), work: join(folder, 'work') }
const [upperFd, workFd] = [openSync(places.upper, O_PATH), openSync(places.work, O_PATH)]
const work = new WorkDirectory(workFd, places.work)
const policy = probeUpper(work, upperFd)
work.close()
for (const fd of [upperFd, workFd]) closeSync(fd)
const side = new TreeSide(places, policy, { redirectDir: false })
const outcomes = runRandom(side, new Random(Number(seed)), Number(steps))
side.remount()
const tree = [...describeTree(side)]
side.close()
process.stdout.write(JSON.stringify({ policy, outcomes, tree }))
