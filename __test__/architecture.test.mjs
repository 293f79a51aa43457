// @ts-check
// What the sources of the manager promise about themselves, and which modules docs/architecture.md calls pure.
import assert from 'node:assert/strict'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { root } from './support/index.mjs'

const MOST_FIELDS = 12
const MOST_BOOLEANS = 2

/** A Rust file without comments, texts and tests. @param {string} path */
function code(path) {
  const [text = ''] = readFileSync(join(root, 'src', path), 'utf8').split('\n#[cfg(test)]\nmod tests {')
  return text.replaceAll(/"(?:\\.|[^"\\])*"/gs, '""').replaceAll(/\/\/.*$/gm, '')
}

/** The files of src/manager but its tests, such as `account/inner`. @returns {string[]} */
function files() {
  const names = ['', 'account/'].flatMap((folder) =>
    readdirSync(join(root, 'src/manager', folder))
      .filter((name) => name.endsWith('.rs'))
      .map((name) => `${folder}${name.slice(0, -3)}`),
  )
  return names.filter((name) => !['mod', 'tests', 'account/mod'].includes(name))
}

/** The line of each file in the table of src/manager/mod.rs, the lowest one 0. @returns {Map<string, number>} */
function lines() {
  const table = /```text\n(.*?)```/s.exec(readFileSync(join(root, 'src/manager/mod.rs'), 'utf8'))?.[1] ?? ''
  const rows = table
    .split('\n')
    .filter((row) => row.startsWith('//!  '))
    .reverse()
  return new Map(
    rows.flatMap((row, at) => {
      let folder = ''
      const [words = ''] = row.replace(/^\/\/! {2}/, '').split(/ {3,}/)
      return words.split(/, /).map((word) => {
        if (word.startsWith('account/ ')) folder = 'account/'
        return /** @type {[string, number]} */ ([`${folder}${word.replace('account/ ', '')}`, at])
      })
    }),
  )
}

/** The files of the manager that a file imports. @param {string} file @param {string[]} all */
function imports(file, all) {
  const text = code(`manager/${file}.rs`)
  const paths = [...text.matchAll(/(crate::manager|super(?:::super)?)::(\{[^}]*\}|[\w:]+)/g)]
  return paths.flatMap(([, base, rest = '']) => {
    const beside = base === 'super' && file.startsWith('account/') ? 'account/' : ''
    const names = rest.startsWith('{') ? rest.slice(1, -1).split(',') : [rest]
    return names.flatMap((name) => {
      const [first = '', second = ''] = name.trim().split('::')
      const path = first === 'account' ? `account/${second}` : `${beside}${first}`
      return all.includes(path) ? [path] : []
    })
  })
}

/** The names of the methods that a file gives to `Inner`. @param {string} file */
function methods(file) {
  const blocks = code(`manager/${file}.rs`).matchAll(/^impl Inner \{\n(.*?)^\}/gms)
  return [...blocks].flatMap(([, block = '']) =>
    [...block.matchAll(/^ {4}[\w() :]*\bfn (\w+)/gm)].map(([, name = '']) => name),
  )
}

/** The structs of a file, with the types of their fields. @param {string} file @returns {[string, string[]][]} */
function structs(file) {
  const found = code(`manager/${file}.rs`).matchAll(/\bstruct (\w+)(?:<[^>]*>)?(?: \{\n(.*?)^\}|\((.*?)\);)/gms)
  return [...found].map(([, name = '', fields = '', tuple]) => {
    const named = [...fields.matchAll(/^ {4}(?:pub(?:\([\w: ]+\))? )?\w+: (.*),$/gm)].map(([, type = '']) => type)
    return [name, tuple === undefined ? named : tuple.split(',')]
  })
}

describe('the manager', () => {
  const all = files()
  const line = lines()
  /** @param {string} name */
  const at = (name) => line.get(name) ?? assert.fail(`${name} is not in the table`)

  it('names each of its files once in its table, and no other', () => {
    assert.deepEqual([...line.keys()].sort(), [...all].sort())
  })

  it('imports only files of lower lines', () => {
    const arrows = all.flatMap((file) => imports(file, all).map((other) => ({ file, other })))
    assert.ok(arrows.length > 40, `the imports were found: ${arrows.length}`)
    const up = arrows.filter(({ file, other }) => at(other) >= at(file) && other !== file)
    assert.deepEqual(up, [])
  })

  it('uses no disk, no network and no clock but its own, apart from the limits of a process that ends', () => {
    const forbidden =
      /\bstd::(?:fs|net|env|process|os)\b|\btokio::(?:fs|net|process)\b|\bcrate::(?:files|http|location|cli)\b|\b(?:Instant|SystemTime)::now\b/g
    // activity.rs waits for real time while a process ends, and login.rs passes the time of a call to a login of `oauth`.
    const others = all.filter((file) => !['clock', 'activity', 'login'].includes(file))
    const found = others.flatMap((file) =>
      [...code(`manager/${file}.rs`).matchAll(forbidden)].map(([what]) => `${file}: ${what}`),
    )
    assert.deepEqual(found, [])
    assert.ok(
      ['clock', 'activity', 'login'].every((file) => code(`manager/${file}.rs`).match(forbidden)),
      'each is an exception',
    )
  })

  it('calls only methods of its shared part that are in lower lines', () => {
    const owners = new Map(all.flatMap((file) => methods(file).map((name) => [name, file])))
    assert.ok(owners.size > 40, `the methods were found: ${owners.size}`)
    const up = all.flatMap((file) => {
      const text = code(`manager/${file}.rs`)
      const calls = [...text.matchAll(/\b(?:self|inner|worker)\s*\.(\w+)\(/g)].map(([, name = '']) => name)
      const others = calls.filter((name) => owners.has(name) && !new RegExp(`\\bfn ${name}\\b`).test(text))
      return others.filter((name) => at(owners.get(name) ?? '') >= at(file)).map((name) => `${file} calls ${name}`)
    })
    assert.deepEqual(up, [])
  })

  it(`has no struct with more than ${MOST_FIELDS} fields or ${MOST_BOOLEANS} booleans`, () => {
    const found = all.flatMap((file) => structs(file).map(([name, types]) => ({ name, types })))
    assert.ok(found.length > 30, `the structs were found: ${found.length}`)
    const large = found.filter(
      ({ types }) => types.length > MOST_FIELDS || types.filter((type) => type === 'bool').length > MOST_BOOLEANS,
    )
    assert.deepEqual(large, [])
  })

  it('makes a state adoptable in one file, which alone calls the store for it', () => {
    // Its fields are private, so that no other file can make one.
    const stored = code('manager/account/stored.rs')
    assert.match(stored, /struct Stored \{\n\s*state: [^\n]*\n\s*is_unwritten: bool,\n\}/)
    const makers = [...stored.matchAll(/(pub[^\n]*)?fn (\w+)\([^)]*\) -> [^{]*(?:Self|Stored|Begun|Accepted|Shared)/g)]
    const open = makers.filter(([, visible]) => visible).map(([, , name]) => name)
    assert.deepEqual(open, [
      'peek',
      'read_locked',
      'begin',
      'commit',
      'accept',
      'forget',
      'joined',
      'put',
      'unwritten',
      'moved_to',
    ])
  })
})

describe('a module that docs/architecture.md calls pure', () => {
  const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8')
  const [list] = /^These modules are pure.*?\n\n(?=## )/ms.exec(page) ?? assert.fail('the table is there')
  const named = [...list.matchAll(/(?<=^\|.*)`([\w/]+(?:\.rs|\/))`(?=.*\|.*\|)/gm)].map(([, path = '']) => path)
  const paths = named.flatMap((path) =>
    path.endsWith('/')
      ? readdirSync(join(root, 'src', path))
          .filter((name) => name.endsWith('.rs') && name !== 'tests.rs')
          .map((name) => path + name)
      : [path],
  )

  it('is there', () => {
    assert.ok(paths.length > 15)
    assert.deepEqual(
      paths.filter((path) => !existsSync(join(root, 'src', path))),
      [],
    )
  })

  it('uses no clock, disk, network or environment', () => {
    const forbidden =
      /\bstd::(?:fs|net|env|process|thread|os)\b|\b(?:Instant|SystemTime)::now\b|\btokio\b|\bcrate::files\b|\bcrate::http::(?!Headers\b|Answer\b)/g
    const found = paths.flatMap((path) => [...code(path).matchAll(forbidden)].map(([what]) => `${path}: ${what}`))
    assert.deepEqual(found, [])
  })
})
