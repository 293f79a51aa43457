// @ts-check
'use strict'

// The three texts that a browser gets: the document, its style and its program.

const { readFileSync } = require('node:fs')
const { join } = require('node:path')
const { languageOf, textsWith } = require('./texts.js')

/** @typedef {import('./texts.js').Texts} Texts */

/**
 * @typedef {object} PageSettings
 * @property {'web' | 'homebridge'} place
 * @property {Record<string, Texts>} table
 * @property {boolean} [needsSecret] Whether the first visitor has to send the secret of the link.
 * @property {string} [platform]
 * @property {boolean} [schemaForm]
 * @property {string} [style] With `homebridge`: the rules that Homebridge's UI does not have.
 */

/** The rules in Homebridge's UI, which has its own colours, buttons and inputs. */
const LAYOUT = `
.ra-title { font-size: 1.4rem; }
.ra-title:focus { outline: none; }
.ra-field { margin-block: 0 1rem; }
.ra-row { display: flex; gap: .5rem; }
.ra-row > input { flex: 1; min-width: 0; }
.ra-error { margin: .25rem 0 0; color: var(--bs-form-invalid-color, #b3261e); }
.ra-status:empty { display: none; }
.ra-status p { margin: 0; overflow-wrap: anywhere; }
.ra-form > button { margin-inline-end: .5rem; margin-block-end: .5rem; }
[aria-disabled=true] { opacity: .65; cursor: default; }
`

const STYLE = `
:root {
  color-scheme: light dark;
  --ink: #1b1c1e; --soft: #55585e; --paper: #f4f5f7; --card: #fff; --line: #80848c;
  --act: #0b5cad; --on-act: #fff; --bad: #a3160d; --bad-card: #fdeceb; --good: #14602b; --good-card: #e7f5ea; --info-card: #e8f0fa;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #ececef; --soft: #b6b9c0; --paper: #17181b; --card: #232529; --line: #8b8f98;
    --act: #8ec1ff; --on-act: #06233f; --bad: #ffb4ab; --bad-card: #3d1b19; --good: #9bdcab; --good-card: #16311e; --info-card: #1d2c40;
  }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 1rem; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
#ring-auth { max-width: 26rem; margin: 4vh auto; padding: 1.5rem; background: var(--card); border-radius: .75rem; }
.ra-title { margin: 0 0 1rem; font-size: 1.5rem; line-height: 1.2; }
.ra-stage > p { margin: 0 0 1rem; color: var(--soft); }
label { display: block; margin-block-end: .25rem; font-weight: 600; overflow-wrap: anywhere; }
.ra-input { width: 100%; min-height: 2.75rem; padding: .5rem .75rem; font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
.ra-input[readonly] { background: var(--paper); }
.ra-input[aria-invalid=true] { border-color: var(--bad); border-width: 2px; }
.ra-button { min-height: 2.75rem; padding: .5rem 1rem; font: inherit; font-weight: 600; border: 1px solid var(--act); border-radius: .5rem; background: none; color: var(--act); cursor: pointer; }
.ra-primary { width: 100%; background: var(--act); color: var(--on-act); }
.ra-form > .ra-secondary, .ra-form > .ra-link { width: 100%; margin-block-start: .75rem; }
.ra-link { border-color: transparent; text-decoration: underline; }
.ra-button[aria-disabled=true] { color: var(--soft); border-color: var(--line); }
:focus-visible { outline: 3px solid var(--act); outline-offset: 2px; }
.ra-status { margin-block-end: 1rem; padding: .75rem; border-radius: .5rem; background: var(--info-card); }
.ra-status:empty { margin: 0; padding: 0; }
.ra-status p + p { margin-block-start: .5rem; }
.ra-detail { font-size: .875rem; }
.ra-danger { background: var(--bad-card); color: var(--bad); }
.ra-success { background: var(--good-card); color: var(--good); }
.ra-error { color: var(--bad); }
${LAYOUT.replace(/\[aria-disabled[^\n]*\n|\.ra-title \{[^}]*\}\n|\.ra-error \{[^}]*\}\n|\.ra-form > button[^\n]*\n/g, '')}.ra-error { margin: .25rem 0 0; }
`

/** @type {string | undefined} */
let client

/**
 * The page's program with its settings.
 * @param {Omit<PageSettings, 'table' | 'style'>} settings
 * @param {Record<string, Partial<Texts>>} [texts]
 */
function program(settings, texts) {
  client ??= readFileSync(join(__dirname, 'client.js'), 'utf8')
  const style = settings.place === 'homebridge' ? LAYOUT : undefined
  // The text must not contain the end of a script element.
  const json = JSON.stringify({ ...settings, table: textsWith(texts), style }).replaceAll('<', '\\u003c')
  return `(() => {\n${client}\nringAuthPage(${json})\n})()\n`
}

/**
 * The document, in the language that the browser prefers.
 * @param {string | undefined} acceptLanguage
 * @param {Record<string, Partial<Texts>>} [texts]
 */
function page(acceptLanguage, texts) {
  const table = textsWith(texts)
  const language = languageOf(table, acceptLanguage)
  const title = escaped(table[language]?.title ?? '')
  return `<!doctype html>
<html lang="${escaped(language)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="stylesheet" href="page.css">
</head>
<body>
<main id="ring-auth"><noscript>${title}: JavaScript</noscript></main>
<script src="page.js"></script>
</body>
</html>
`
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

module.exports = { STYLE, page, program }
