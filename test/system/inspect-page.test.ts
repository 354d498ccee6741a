import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatPage, PAGE_LAYERS, pageData } from '../../src/cli/page/index.ts'
import { inspectSource, measureUsage } from '../../src/molecule/index.ts'
import {
  ATOMFS_FUSE,
  atomfsFuse,
  findProgram,
  makeTempDir,
  mksquashfs,
  needs,
  removeTempDir,
  run,
  titled,
  writeOciLayout,
} from '../library/index.ts'

/** The page of `inspect --html`, in a browser without a window. */

const ROOT = resolve(import.meta.dirname, '../..')
const BROWSER = 'chromium-headless-shell'
const need = needs(BROWSER, 'mksquashfs')

/** What runs if a name gets into the page as markup, in the forms that could do it. */
const HOSTILE = [
  '<img src=x onerror=window.hacked=1>',
  '"><svg onload=window.hacked=1>',
  '<!--<script>window.hacked=1',
  "';window.hacked=1;'",
  '&lt;b&gt;',
  'line\nbreak\u202egnp',
]

let folder = ''
let source = ''
let file = ''
let browser: Browser | undefined

beforeAll(async () => {
  if (!need.ok) return
  folder = makeTempDir()
  const [lower, upper] = [join(folder, 'lower'), join(folder, 'upper')]
  const put = (tree: string, path: string, size: number) => {
    mkdirSync(join(tree, path, '..'), { recursive: true })
    writeFileSync(join(tree, path), Buffer.alloc(size, 'x'))
  }
  put(lower, 'usr/large', 600_000)
  put(lower, 'usr/small', 200_000)
  put(lower, 'gone', 100_000)
  put(upper, '.wh.gone', 0)
  put(upper, 'etc/new', 50_000)
  put(upper, 'etc/README', 0)
  // Together with the slash between them: </script>…
  put(upper, '<', 0)
  for (const [index, name] of HOSTILE.entries()) put(upper, `hostile/${name}`, 1000 + index)
  put(upper, 'hostile/</script><script>window.hacked=1</script>'.replaceAll('t></', 't>'), 10)
  const layers = [
    { file: await mksquashfs(lower, `${lower}.sqfs`) },
    { file: await mksquashfs(upper, `${upper}.sqfs`) },
  ]
  const oci = join(folder, '<', 'script><img src=x onerror=window.hacked=1>')
  mkdirSync(oci, { recursive: true })
  await writeOciLayout(oci, [{ tag: 'x', layers }])
  source = `${oci}:x`
  file = join(folder, 'page.html')
  await atomfsFuse(['inspect', '--html', file, source])
  const executablePath = findProgram(BROWSER)!
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox'], timeout: 60_000 })
})

afterAll(async () => {
  await browser?.close()
  if (folder !== '') removeTempDir(folder)
})

interface Visit {
  readonly page: Page
  /** Everything that was asked for. */
  readonly requests: string[]
  readonly complaints: string[]
}

async function visit(use: (visit: Visit) => Promise<void>, width = 1200, scheme: 'light' | 'dark' = 'light') {
  const page = await browser!.newPage({ viewport: { width, height: 900 }, colorScheme: scheme })
  page.setDefaultTimeout(30_000)
  const requests: string[] = []
  const complaints: string[] = []
  page.on('request', (request) => requests.push(request.url()))
  page.on('pageerror', ({ message }) => complaints.push(message))
  page.on('console', (message) => complaints.push(message.text()))
  page.on('dialog', (dialog) => {
    complaints.push(dialog.message())
    void dialog.dismiss()
  })
  try {
    await page.goto(pathToFileURL(file).href)
    await use({ page, requests, complaints })
    expect(complaints).toEqual([])
    expect(requests).toEqual([pathToFileURL(file).href])
  } finally {
    await page.close()
  }
}

const rows = (page: Page): Promise<string[]> => page.locator('#files tbody td:first-child').allTextContents()
const tiles = (page: Page): Promise<string[]> => page.locator('.tile span').allTextContents()

describe.skipIf(!need.ok)(titled('the page of inspect --html', need), () => {
  test('the page draws a treemap by directory and by layer, and the keyboard moves in it', async () => {
    await visit(async ({ page }) => {
      expect(await tiles(page)).toEqual(
        expect.arrayContaining(['usr  781.3 KiB', 'large  585.9 KiB', 'small  195.3 KiB', 'etc  48.8 KiB']),
      )
      const areaOf = async (label: string): Promise<number> => {
        const box = await page.locator('.tile', { hasText: label }).first().boundingBox()
        return box!.width * box!.height
      }
      const ratio = (await areaOf('large')) / (await areaOf('small'))
      expect(ratio).toBeGreaterThan(2.6)
      expect(ratio).toBeLessThan(3.4)
      expect(await page.locator('.tile', { hasText: 'gone' }).count()).toBe(0)
      await page.getByLabel('with what is hidden').check()
      expect(await page.locator('.tile.gone').allTextContents()).toEqual(['gone  97.7 KiB'])
      await page.getByLabel('with what is hidden').uncheck()

      await page.getByLabel('by layer').check()
      expect(await tiles(page)).toEqual(expect.arrayContaining(['layer 1  781.3 KiB', 'usr  781.3 KiB']))
      await page.getByLabel('by directory').check()
      await page.locator('.tile[tabindex="0"]').focus()
      await page.keyboard.press('Enter')
      expect(await page.locator('#position').textContent()).toBe('/usr')
      expect(await tiles(page)).toEqual(['large  585.9 KiB', 'small  195.3 KiB'])
      await page.keyboard.press('ArrowRight')
      expect(await page.evaluate('document.activeElement.textContent')).toBe('small  195.3 KiB')
      await page.keyboard.press('Escape')
      expect(await page.locator('#position').textContent()).toBe('/')
    })
  })

  test('the table sorts by each column, and the search field finds', async () => {
    await visit(async ({ page }) => {
      const all = await rows(page)
      expect(all.slice(0, 3)).toEqual(['/', '/usr', '/usr/large'])
      await page.getByRole('button', { name: 'Path' }).click()
      const byPath = await rows(page)
      expect(byPath).toEqual([...all].sort(new Intl.Collator('en').compare))
      expect(byPath).not.toEqual(all)
      expect(await page.locator('#files th[aria-sort="ascending"]').textContent()).toBe('Path')
      await page.getByRole('button', { name: 'Path' }).click()
      expect(await rows(page)).toEqual(byPath.toReversed())
      await page.getByRole('button', { name: 'Hidden' }).click()
      expect((await rows(page)).slice(0, 2).sort()).toEqual(['/', '/gone'])
      await page.getByLabel('Search in paths').fill('USR/')
      expect((await rows(page)).sort()).toEqual(['/usr/large', '/usr/small'])
      expect(await page.locator('#found').textContent()).toBe('2 of 2 rows that match')
      await page.getByLabel('Search in paths').fill('rEAD')
      expect(await rows(page)).toEqual(['/etc/README'])
      await page.getByLabel('Search in paths').fill('<img')
      expect(await rows(page)).toEqual(['/hostile/<img src=x onerror=window.hacked=1>'])
    })
  })

  test('hostile names are text, and nothing leaves the page', async () => {
    await visit(async ({ page }) => {
      const shown = await rows(page)
      for (const name of HOSTILE.slice(0, 5)) expect(shown).toContain(`/hostile/${name}`)
      expect(shown).toContain('/hostile/line\\nbreak\\u202egnp')
      expect(await page.title()).toBe(source)
      expect(await page.locator('h1').textContent()).toBe(source)
      await page.locator('.link', { hasText: '/hostile' }).first().click()
      expect(await page.locator('#map .tile').count()).toBeGreaterThan(5)
      expect(await page.evaluate('window.hacked')).toBeUndefined()
      expect(await page.locator('img, svg, iframe, object, link').count()).toBe(0)
      expect(await page.locator('script').count()).toBe(2)
    })
    // Where something did get in, the policy would stop it.
    const page = await browser!.newPage()
    try {
      await page.goto(pathToFileURL(file).href)
      const refused = await page.evaluate(`(async () => {
        const script = document.createElement('script')
        script.textContent = 'window.hacked = 1'
        document.body.append(script)
        return [window.hacked, await fetch('data:,x').catch(() => 'refused')]
      })()`)
      expect(refused).toEqual([undefined, 'refused'])
    } finally {
      await page.close()
    }
  })

  test('the page fits a small screen, and follows the colours of the system', async () => {
    const colours = new Set<string>()
    for (const scheme of ['light', 'dark'] as const) {
      await visit(
        async ({ page }) => {
          expect(await page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')).toBe(true)
          colours.add(await page.evaluate('getComputedStyle(document.body).backgroundColor'))
          // Each control has a name for those who do not see it.
          const names = await page
            .locator('button:visible, input:visible')
            .evaluateAll((all) =>
              all.map((one) => one.ariaLabel || one.textContent || one.labels[0].textContent),
            )
          expect(names.length).toBeGreaterThan(20)
          expect(names.filter((name) => name.trim() === '')).toEqual([])
        },
        360,
        scheme,
      )
    }
    expect(colours.size).toBe(2)
  })
})

describe('the file of the page', () => {
  test('the built program writes what the sources write, to a file or to standard output', async () => {
    const image = 'fixtures/oci:demo'
    const { usage, tree } = await measureUsage({
      source: image,
      top: 10,
      tree: { cost: 40_000, layers: PAGE_LAYERS },
    })
    const page = formatPage(pageData(inspectSource(image), { usage, tree: tree! }))
    expect((await atomfsFuse(['inspect', '--html', '-', image])).stdout).toBe(page)
    expect(page.match(/<script/g)).toHaveLength(2)
    // A pipe holds 64 KiB: the rest is written when there is room, and the program waits for that.
    const slow = `'${ATOMFS_FUSE}' inspect --json --top 1000 '${ROOT}' | (sleep 1; tail -c 2)`
    expect((await run('sh', ['-c', slow])).stdout).toBe('}\n')
    expect(page).not.toMatch(/https?:\/\/(?!d3js\.org\/d3-hierarchy\/)/)
  })
})
