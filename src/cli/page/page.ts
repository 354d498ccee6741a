import { createHash } from 'node:crypto'
import { PAGE_SCRIPT, PAGE_STYLE, TREEMAP_LICENSE, TREEMAP_SCRIPT } from './assets.ts'
import type { PageData } from './page-data.ts'

/**
 * Writes the page as one text. It loads nothing: a policy in it allows this very style and script, by their hashes, and no
 * other, and no request at all. Data stand in it as JSON in which no `<` is left, so nothing in them ends the element that
 * they are in (HTML standard, "Restrictions for contents of script elements").
 */
export function formatPage(data: PageData): string {
  // The licence asks to be kept beside the code.
  const script = `/*\n${TREEMAP_LICENSE}*/\n${TREEMAP_SCRIPT}\n${PAGE_SCRIPT}`
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(PAGE_STYLE)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="atomfs-fuse">
<title>${escapeText(data.source)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
${BODY}
<script type="application/json" id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>
<script>${script}</script>
</body>
</html>
`
}

const BODY = `<header>
<h1><code id="source"></code></h1>
<div id="summary"></div>
<noscript><p>This page needs JavaScript. It loads nothing from anywhere.</p></noscript>
</header>
<main>
<section aria-labelledby="layers-title">
<h2 id="layers-title">Layers, the lowest first</h2>
<div class="scroll" tabindex="0" role="region" aria-labelledby="layers-title">
<table id="layers">
<thead><tr><th scope="col">Layer</th><th scope="col" class="text">Blob or path</th><th scope="col">Stored</th>
<th scope="col">Holds</th><th scope="col">Adds</th><th scope="col">Replaces</th><th scope="col">Hides</th>
<th scope="col">Shows</th></tr></thead>
<tbody></tbody>
</table>
</div>
<p class="faint">Names · bytes of files. A layer adds what those below it do not show, replaces what they show, and hides
what is deleted or lies in an opaque directory. What is hidden or replaced by layers above does not show.</p>
</section>
<section aria-labelledby="map-title">
<h2 id="map-title">Where the bytes are</h2>
<div class="controls">
<fieldset><legend>Arranged</legend>
<label><input type="radio" name="arrangement" value="directory" checked> by directory</label>
<label><input type="radio" name="arrangement" value="layer"> by layer</label></fieldset>
<label><input type="checkbox" id="hidden"> with what is hidden</label>
</div>
<nav aria-label="Place in the tree"><ol id="position"></ol></nav>
<div id="map" role="group" aria-label="Treemap; arrow keys move, Enter opens a directory, Escape goes up"></div>
<p class="faint">Colours are layers; the largest one of a directory gives its colour. Striped tiles do not show in the
image.</p>
</section>
<section aria-labelledby="files-title">
<h2 id="files-title">Files and directories</h2>
<div class="controls">
<label for="search">Search in paths</label>
<input type="search" id="search" autocomplete="off" spellcheck="false">
<span id="found" role="status" class="faint"></span>
</div>
<div class="scroll" tabindex="0" role="region" aria-labelledby="files-title">
<table id="files"><thead><tr></tr></thead><tbody></tbody></table>
</div>
<button type="button" id="more" class="more">Show more rows</button>
<p id="folded" class="faint"></p>
</section>
</main>`

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
