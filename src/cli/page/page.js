// The script of the page that `inspect --html` writes. It runs in browsers, after d3-hierarchy, and gets its data from
// the element "data" (page-data.ts). Names of files are hostile: they enter the page as text alone, never as markup.
;(() => {
  const data = JSON.parse(document.getElementById('data').textContent)
  const count = new Intl.NumberFormat('en')
  const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

  /** Rows of the large table that are in the page at first, and that each press of the button adds. */
  const ROWS = 200
  /** Tiles smaller than this are not drawn, in pixels. */
  const LEAST_SIDE = 4
  /** Room for the name of a directory above what is in it, in pixels. */
  const HEAD = 18
  /** A longer path loses its middle. */
  const LONGEST_PATH = 2000

  function formatBytes(bytes) {
    let value = bytes
    let unit = 0
    while (value >= 1024 && unit < UNITS.length - 1) {
      value /= 1024
      unit += 1
    }
    return `${Number.isInteger(value) ? value : value.toFixed(1)} ${UNITS[unit]}`
  }

  /** An element with attributes, properties by their names, and what is in it. */
  function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag)
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes('-') || name === 'role' || name === 'scope') made.setAttribute(name, value)
      else made[name] = value
    }
    made.append(...children)
    return made
  }

  /** Neighbours get hues that are far apart. */
  function hueOf(layer) {
    return Math.round((205 + layer * 137.5) % 360)
  }

  function swatch(layer) {
    const made = element('span', { className: 'swatch', 'aria-hidden': 'true' })
    made.style.setProperty('--hue', hueOf(layer))
    return made
  }

  // --- the tree -----------------------------------------------------------------------------------------------------

  /** @type {{name: string, path: string, parent: object, isDirectory: boolean, names: number, layers: object[]}[]} */
  const nodes = []
  for (const [parentIndex, name, isDirectory, names, sizes] of data.nodes) {
    const parent = nodes[parentIndex]
    const layers = []
    for (let at = 0; at < sizes.length; at += 3) {
      layers.push({ layer: sizes[at], held: sizes[at + 1], shown: sizes[at + 2] })
    }
    layers.sort((a, b) => a.layer - b.layer)
    const node = { name, parent, isDirectory: isDirectory === 1, names, layers, children: [], path: '/' }
    node.held = layers.reduce((sum, { held }) => sum + held, 0)
    node.shown = layers.reduce((sum, { shown }) => sum + shown, 0)
    if (parent !== undefined) {
      const above = parent.path === '/' ? '' : parent.path
      node.path = `${above.length > LONGEST_PATH ? `${above.slice(0, 200)}/…` : above}/${name}`
      parent.children.push(node)
    }
    nodes.push(node)
  }
  const root = nodes[0]

  function bytesIn(node, layer, isShownOnly) {
    let sum = 0
    for (const one of node.layers) {
      if (layer === undefined || one.layer === layer) sum += isShownOnly ? one.shown : one.held
    }
    return sum
  }

  /** The layer that has most of a node. */
  function mainLayer(node) {
    return node.layers.reduce(
      (best, one) => (one.held > best.held ? one : best),
      node.layers[0] ?? { layer: 0, held: 0 },
    ).layer
  }

  function layerName(index) {
    return data.layers[index]?.name ?? `layer ${index}`
  }

  // --- the treemap --------------------------------------------------------------------------------------------------

  const map = document.getElementById('map')
  const position = document.getElementById('position')
  const view = { node: root, layer: undefined, byLayer: false, isShownOnly: true }

  /** What the map shows below an item, one level: nodes, layers at the root of the view by layer, and what was folded. */
  function itemsBelow({ node, layer, isStack }) {
    if (isStack) {
      return data.layers.map((_, index) => ({ node, layer: index, label: layerName(index), opens: true }))
    }
    const items = node.children.map((child) => ({
      node: child,
      layer,
      label: child.name,
      opens: child.isDirectory,
    }))
    const rest = bytesOf({ node, layer }) - items.reduce((sum, item) => sum + bytesOf(item), 0)
    const others = node.names - 1 - node.children.reduce((sum, child) => sum + child.names, 0)
    if (rest > 0 && others > 0) items.push({ node, layer, label: `${count.format(others)} others`, rest })
    return items
  }

  function bytesOf({ node, layer, rest }) {
    return rest ?? bytesIn(node, layer, view.isShownOnly)
  }

  /** The item as d3 wants it: two levels, each child with its bytes. */
  function hierarchyOf(item, levels) {
    const items =
      levels === 0 || item.rest !== undefined ? [] : itemsBelow(item).filter((one) => bytesOf(one) > 0)
    const children = items.map((one) => hierarchyOf(one, levels - 1))
    return { item, bytes: children.length > 0 ? 0 : bytesOf(item), children }
  }

  function drawMap() {
    const { width, height } = map.getBoundingClientRect()
    const isStack = view.byLayer && view.layer === undefined
    const hierarchy = d3
      .hierarchy(hierarchyOf({ node: view.node, layer: view.layer, isStack }, 2))
      .sum((one) => one.bytes)
    hierarchy.sort((a, b) => b.value - a.value)
    d3
      .treemap()
      .size([width, height])
      .paddingInner(1)
      .paddingTop((one) => (one.depth === 1 ? HEAD : 0))
      .round(true)(hierarchy)
    const tiles = hierarchy
      .descendants()
      .slice(1)
      .filter((one) => one.x1 - one.x0 >= LEAST_SIDE && one.y1 - one.y0 >= LEAST_SIDE)
      .map(drawTile)
    if (tiles.length === 0) {
      const why = view.isShownOnly ? 'Nothing with a size shows here.' : 'Nothing here has a size.'
      map.replaceChildren(element('p', { className: 'faint', textContent: why }))
    } else {
      tiles[0].tabIndex = 0
      map.replaceChildren(...tiles)
    }
    drawPosition()
  }

  function drawTile({ data: { item, children }, value, x0, y0, x1, y1 }) {
    const layer = item.layer ?? mainLayer(item.node)
    const what = item.rest !== undefined ? 'folded together' : item.node.isDirectory ? 'directory' : 'file'
    const text = `${item.label}, ${formatBytes(value)}, ${what}, ${layerName(layer)}`
    const tile = element('button', {
      type: 'button',
      className: 'tile',
      tabIndex: -1,
      title: text,
      'aria-label': text,
    })
    tile.append(element('span', { textContent: `${item.label}  ${formatBytes(value)}` }))
    if (children.length > 0) tile.classList.add('holds')
    if (item.node.shown === 0 && item.rest === undefined) tile.classList.add('gone')
    if (item.opens) {
      tile.dataset.opens = ''
      tile.addEventListener('click', () => open(item))
    }
    Object.assign(tile.style, {
      left: `${x0}px`,
      top: `${y0}px`,
      width: `${x1 - x0}px`,
      height: `${y1 - y0}px`,
    })
    tile.style.setProperty('--hue', hueOf(layer))
    return tile
  }

  function drawPosition() {
    const steps = []
    for (let node = view.node; node !== undefined; node = node.parent) steps.unshift(node)
    // Of a very deep place the end.
    const entries = steps
      .slice(-12)
      .map((node) => ({ node, layer: view.layer, label: node === root ? '/' : node.name }))
    if (view.byLayer) {
      if (view.layer !== undefined) entries[0].label = layerName(view.layer)
      else entries.length = 0
      entries.unshift({ node: root, layer: undefined, label: 'all layers' })
    }
    position.replaceChildren(
      ...entries.map((entry, index) => {
        const isLast = index === entries.length - 1
        const button = element('button', { type: 'button', className: 'link path', textContent: entry.label })
        if (isLast) button.setAttribute('aria-current', 'true')
        button.addEventListener('click', () => open(entry))
        return element('li', {}, button)
      }),
    )
  }

  function open({ node, layer }) {
    view.node = node
    view.layer = layer
    drawMap()
    map.querySelector('.tile')?.focus({ preventScroll: true })
  }

  function up() {
    if (view.node !== root) open({ node: view.node.parent, layer: view.layer })
    else if (view.layer !== undefined) open({ node: root, layer: undefined })
  }

  map.addEventListener('keydown', (event) => {
    const tiles = [...map.querySelectorAll('.tile')]
    const at = tiles.indexOf(document.activeElement)
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }
    if (event.key === 'Escape' || event.key === 'Backspace') up()
    else if (event.key in steps && at >= 0) {
      const next = tiles[(at + steps[event.key] + tiles.length) % tiles.length]
      tiles[at].tabIndex = -1
      next.tabIndex = 0
      next.focus()
    } else return
    event.preventDefault()
  })

  for (const radio of document.querySelectorAll('input[name="arrangement"]')) {
    radio.addEventListener('change', () => {
      view.byLayer = radio.value === 'layer'
      view.node = root
      view.layer = undefined
      drawMap()
    })
  }
  document.getElementById('hidden').addEventListener('change', ({ target }) => {
    view.isShownOnly = !target.checked
    drawMap()
  })
  new ResizeObserver(drawMap).observe(map)

  // --- the layers ---------------------------------------------------------------------------------------------------

  function amount([entries, bytes]) {
    return `${count.format(entries)} · ${formatBytes(bytes)}`
  }

  function amountInWords([entries, bytes]) {
    return `${count.format(entries)} ${entries === 1 ? 'name' : 'names'} with ${formatBytes(bytes)}`
  }

  function drawLayers() {
    const rows = data.layers.map((layer, index) => {
      const name = element('th', { scope: 'row', className: 'text' }, swatch(index), layer.name)
      const label = element(
        'td',
        { className: 'text' },
        element('code', { textContent: layer.label, title: layer.label }),
      )
      const { stored, holds, adds, replaces, hides, shows } = layer
      const cells = [
        stored === undefined ? '–' : formatBytes(stored),
        ...[holds, adds, replaces, hides, shows].map(amount),
      ]
      return element('tr', {}, name, label, ...cells.map((textContent) => element('td', { textContent })))
    })
    document.querySelector('#layers tbody').replaceChildren(...rows)
    document.getElementById('source').textContent = data.source
    const lines = [
      `The image shows ${amountInWords(data.shows)}, of ${amountInWords(data.holds)} in ${count.format(data.layerCount)} ${data.layerCount === 1 ? 'layer' : 'layers'}.`,
      data.manifest === undefined ? '' : `Manifest ${data.manifest}`,
      data.unreadable.count === 0
        ? ''
        : `Names that cannot be read: ${count.format(data.unreadable.count)}. The first: ${data.unreadable.first}`,
    ]
    const notes = lines
      .filter((line) => line !== '')
      .map((textContent) => element('p', { className: 'faint', textContent }))
    document.getElementById('summary').replaceChildren(...notes)
  }

  // --- the table of files and directories ---------------------------------------------------------------------------

  const COLUMNS = [
    { title: 'Path', value: (node) => node.path, isText: true },
    { title: 'Kind', value: (node) => (node.isDirectory ? 'directory' : 'file'), isText: true },
    {
      title: 'Layers',
      value: (node) => node.layers.map(({ layer }) => data.layers[layer]?.number).join(', '),
      isText: true,
    },
    { title: 'Names', value: (node) => node.names, format: (value) => count.format(value) },
    { title: 'Shown', value: (node) => node.shown, format: formatBytes },
    { title: 'Hidden', value: (node) => node.held - node.shown, format: formatBytes },
  ]
  const compareTexts = new Intl.Collator('en').compare
  const files = document.getElementById('files')
  const more = document.getElementById('more')
  const search = document.getElementById('search')
  const order = { column: COLUMNS[4], isDescending: true }
  let limit = ROWS

  function matching() {
    const wanted = search.value.toLowerCase()
    return wanted === '' ? nodes : nodes.filter(({ path }) => path.toLowerCase().includes(wanted))
  }

  function drawFiles() {
    const { column, isDescending } = order
    const found = matching().map((node) => ({ node, key: column.value(node) }))
    const compare = column.isText ? (a, b) => compareTexts(a.key, b.key) : (a, b) => a.key - b.key
    found.sort((a, b) => (isDescending ? compare(b, a) : compare(a, b)))
    files.querySelector('tbody').replaceChildren(...found.slice(0, limit).map(({ node }) => drawRow(node)))
    for (const [index, head] of [...files.querySelectorAll('thead th')].entries()) {
      const direction = isDescending ? 'descending' : 'ascending'
      head.setAttribute('aria-sort', COLUMNS[index] === column ? direction : 'none')
    }
    const shown = Math.min(limit, found.length)
    document.getElementById('found').textContent =
      `${count.format(shown)} of ${count.format(found.length)} rows${search.value === '' ? '' : ' that match'}`
    more.hidden = shown === found.length
  }

  function drawRow(node) {
    const cells = COLUMNS.map(({ value, format, isText }) => {
      const text = value(node)
      return element('td', {
        className: isText ? 'text' : '',
        textContent: format === undefined ? text : format(text),
      })
    })
    const [path] = cells
    path.className = 'text wide path'
    if (node.isDirectory) {
      const button = element('button', { type: 'button', className: 'link path', textContent: node.path })
      button.addEventListener('click', () => {
        map.scrollIntoView({ block: 'center' })
        open({ node, layer: view.byLayer ? mainLayer(node) : undefined })
      })
      path.replaceChildren(button)
    }
    return element('tr', {}, ...cells)
  }

  function drawHeads() {
    const heads = COLUMNS.map((column) => {
      const button = element('button', { type: 'button', textContent: column.title })
      button.addEventListener('click', () => {
        order.isDescending = order.column === column ? !order.isDescending : !column.isText
        order.column = column
        drawFiles()
      })
      return element('th', { scope: 'col', className: column.isText ? 'text' : '' }, button)
    })
    files.querySelector('thead tr').replaceChildren(...heads)
  }

  search.addEventListener('input', () => {
    limit = ROWS
    drawFiles()
  })
  more.addEventListener('click', () => {
    limit += ROWS
    drawFiles()
  })

  const folded = root.names - nodes.length
  document.getElementById('folded').textContent =
    folded <= 0
      ? ''
      : `${count.format(folded)} small names have no row and no tile of their own. Their directories count them, and the map shows them as "others".`

  drawLayers()
  drawHeads()
  drawFiles()
  drawMap()
})()
