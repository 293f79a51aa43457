// @ts-check
// Unusual config.json and .env files: texts with a token somewhere in them.

/** @typedef {import('../support/chance.mjs').Chance} Chance */

/** The placeholder of the token. No text contains it anywhere else. */
export const TOKEN = '@THE TOKEN@'

// ---- config.json

/** @typedef {{ raw: string } | { members: [string, Odd][] } | { elements: Odd[] }} Odd */

const KEYS = [
  'a',
  'refresh',
  'refreshTokens',
  'token',
  'email2',
  '',
  'with space',
  '\\u00e9t\\u00e9',
  'é',
  '$ref',
  '__proto__',
  'constructor',
  '\\"quoted\\"',
  'a\\/b',
  '😀',
  'platform2',
]
const STRINGS = [
  '',
  'x',
  'é',
  '\\u00e9',
  '\\/',
  '/',
  '\\n\\t\\r\\b\\f',
  '\\\\',
  '\\"',
  '😀',
  '\\ud83d\\ude00',
  '\\u0000',
  '\\u2028',
  '\u2028',
  '\u00a0',
  '// no comment',
  '{',
  ']',
  'refreshToken',
  '\\"refreshToken\\": \\"no\\"',
  'C:\\\\dir\\\\',
  ' '.repeat(40),
  '\u007f',
]
const NUMBERS = [
  '0',
  '-0',
  '1.0',
  '1e3',
  '1E+3',
  '1.5e-7',
  '12345678901234567890.10',
  '3.141592653589793238',
  '-1',
  '0.10',
  '1e999',
]
const LITERALS = ['true', 'false', 'null', '[]', '{}', '[ ]', '{ }', '[\n]', '{\t}']

/** @param {Chance} chance @param {number} depth @returns {Odd} */
function anything(chance, depth) {
  const kind = chance.below(depth > 3 ? 3 : 5)
  if (kind === 0) return { raw: chance.pick(NUMBERS) }
  if (kind === 1) return { raw: chance.pick(LITERALS) }
  if (kind === 2) return { raw: `"${chance.pick(STRINGS)}"` }
  if (kind === 3) return { elements: chance.some(0, 3, () => anything(chance, depth + 1)) }
  return { members: others(chance, depth + 1, 3) }
}

/** Keys may come twice. @param {Chance} chance @param {number} depth @param {number} atMost @returns {[string, Odd][]} */
function others(chance, depth, atMost) {
  return chance.some(
    0,
    atMost,
    () => /** @type {[string, Odd]} */ ([`"${chance.pick(KEYS)}"`, anything(chance, depth)]),
  )
}

/** The same string, perhaps with a letter of it escaped. @param {Chance} chance @param {string} text */
function string(chance, text) {
  if (chance.is(0.8) || text === '') return JSON.stringify(text)
  const at = chance.below(text.length)
  const escaped = `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`
  const part = (/** @type {number} */ from, /** @type {number} */ to) =>
    JSON.stringify(text.slice(from, to)).slice(1, -1)
  return `"${part(0, at)}${escaped}${part(at + 1, text.length)}"`
}

/** @template T @param {Chance} chance @param {T[]} list */
function shuffled(chance, list) {
  for (let i = list.length - 1; i > 0; i--) {
    const other = chance.below(i + 1)
    const [one, two] = [list[i], list[other]]
    list[i] = /** @type {T} */ (two)
    list[other] = /** @type {T} */ (one)
  }
  return list
}

/**
 * @param {Chance} chance
 * @returns {{ text: string, platform: string, name: string | undefined, hasKey: boolean }} `name`: to be given to the store
 */
export function oddConfig(chance) {
  const platform = chance.pick(['Ring', 'Ring', 'RingAuthExample', 'Plattform Ö', 'a.b'])
  const hasKey = chance.is(0.85)
  const ourName = chance.pick(['Ring', 'Café', 'Zuhause / oben', '', undefined])
  /** @type {[string, Odd][]} */
  const ours = [[string(chance, 'platform'), { raw: string(chance, platform) }], ...others(chance, 2, 4)]
  if (ourName !== undefined) ours.push([string(chance, 'name'), { raw: string(chance, ourName) }])
  if (chance.is(0.3))
    ours.push([
      '"_bridge"',
      {
        members: [
          ['"username"', { raw: '"0E:00:00:00:00:02"' }],
          ['"port"', { raw: '51826' }],
          ...others(chance, 3, 2),
        ],
      },
    ])
  if (chance.is(0.2))
    ours.push(['"cameras"', { elements: [{ members: [['"refreshToken"', { raw: '"of something else"' }]] }] }])
  shuffled(chance, ours)
  if (hasKey) {
    ours.splice(chance.below(ours.length + 1), 0, [string(chance, 'refreshToken'), { raw: `"${TOKEN}"` }])
    // Readers take the last one.
    if (chance.is(0.1)) ours.unshift(['"refreshToken"', { raw: '"an earlier one"' }])
  }

  const sameName = chance.is(0.3)
  /** @type {Odd[]} */
  const blocks = [{ members: ours }]
  if (sameName) {
    for (const name of ['second', 'third'].slice(chance.below(2))) {
      blocks.push({
        members: shuffled(chance, [
          ['"platform"', { raw: string(chance, platform) }],
          ['"name"', { raw: `"${name}"` }],
          ['"refreshToken"', { raw: '"of another account"' }],
          ...others(chance, 2, 2),
        ]),
      })
    }
  }
  for (const other of chance.some(0, 3, () => chance.pick(['Hue', 'config', 'ring', 'RingRing']))) {
    blocks.push({
      members: shuffled(chance, [
        ['"platform"', { raw: `"${other}"` }],
        ['"refreshToken"', { raw: '"of another plugin"' }],
        ...others(chance, 2, 2),
      ]),
    })
  }
  if (chance.is(0.05)) blocks.push({ raw: 'null' })

  /** @type {[string, Odd][]} */
  const top = others(chance, 1, 3)
  if (chance.is(0.9))
    top.push([
      '"bridge"',
      { members: [['"name"', { raw: '"Homebridge"' }], ['"pin"', { raw: '"031-45-154"' }], ...others(chance, 2, 2)] },
    ])
  if (chance.is(0.5)) top.push(['"accessories"', { elements: chance.some(0, 2, () => anything(chance, 2)) }])
  top.push([string(chance, 'platforms'), { elements: shuffled(chance, blocks) }])
  shuffled(chance, top)

  const text = print(chance, { members: top })
  const called = ourName || platform
  return { text, platform, hasKey, name: sameName || chance.is(0.3) ? called : undefined }
}

/** @param {Chance} chance @param {Odd} root */
function print(chance, root) {
  const newline = chance.pick(['\n', '\n', '\r\n', '\r', ''])
  const unit = chance.pick(['  ', '    ', '\t', ' ', ''])
  const colon = chance.pick([': ', ': ', ':', ' : ', '\t:  '])
  const isMessy = chance.is(0.3)
  const blank = () => (isMessy && chance.is(0.3) ? chance.pick([' ', '\t', '  ', '\n', '\r\n', '\n\n ']) : '')
  /** @param {string} open @param {string[]} items @param {string} close @param {number} depth */
  const list = (open, items, close, depth) => {
    if (items.length === 0) return open + blank() + close
    const [inner, outer] =
      isMessy && chance.is(0.2) ? [' ', ' '] : [newline + unit.repeat(depth + 1), newline + unit.repeat(depth)]
    return (
      open +
      inner +
      items.join(`${blank()},${blank()}${inner === '' ? chance.pick(['', ' ']) : inner}`) +
      blank() +
      outer +
      close
    )
  }
  /** @param {Odd} odd @param {number} depth @returns {string} */
  const one = (odd, depth) => {
    if ('raw' in odd) return odd.raw
    if ('elements' in odd)
      return list(
        '[',
        odd.elements.map((element) => one(element, depth + 1)),
        ']',
        depth,
      )
    return list(
      '{',
      odd.members.map(([key, value]) => key + blank() + colon + blank() + one(value, depth + 1)),
      '}',
      depth,
    )
  }
  const bom = chance.is(0.1) ? '\ufeff' : ''
  return bom + blank() + one(root, 0) + chance.pick(['', newline, '\n', '\r\n\r\n', '   '])
}

// ---- .env

/**
 * @param {Chance} chance
 * @returns {{ text: string, key: string, hasKey: boolean }}
 */
export function oddEnv(chance) {
  const key = chance.pick(['RING_REFRESH_TOKEN', 'RING_REFRESH_TOKEN', 'token', '_T0KEN', 'ring.token', 'RING-TOKEN'])
  const newline = chance.pick(['\n', '\n', '\r\n'])
  const hasKey = chance.is(0.85)
  const lines = chance.some(0, 8, () => line(chance, key))
  if (hasKey) {
    // Readers ignore an earlier one.
    if (chance.is(0.25))
      lines.splice(chance.below(lines.length + 1), 0, `${key}=${chance.pick(['', 'an-earlier-one', '"quoted"'])}`)
    const last = Math.max(...lines.keys(), -1) + 1
    const from = lines.findLastIndex((line) => line.startsWith(`${key}=`)) + 1
    lines.splice(from + chance.below(last - from + 1), 0, assignment(chance, key))
  }
  const bom = chance.is(0.1) ? '\ufeff' : ''
  return { text: bom + lines.join(newline) + (chance.is(0.7) ? newline.repeat(1 + chance.below(2)) : ''), key, hasKey }
}

/** @param {Chance} chance @param {string} key */
function assignment(chance, key) {
  const quote = chance.pick(['', '', '"', "'", '`'])
  const before = chance.pick(['', '', '', 'export ', 'export   ', '  ', '\t'])
  const sign = chance.pick(['=', '=', '=', ' = ', '= ', ': '])
  const comment = chance.pick(['', '', '', ' # of the Ring app', '   #', ' # it\'s "odd" `too`', '\t'])
  return before + key + sign + quote + TOKEN + quote + comment
}

/** @param {Chance} chance @param {string} key */
function line(chance, key) {
  return chance.pick([
    '',
    '   ',
    '# a comment',
    `# ${key}=commented out`,
    `#${key}='x'`,
    `${key}_OLD=old`,
    `MY_${key}="mine"`,
    `X${key}=x`,
    'EMPTY=',
    'export PATH="$HOME/bin:$PATH"',
    'QUOTED="a \\"b\\" # c"',
    "SINGLE='it is \\n not'",
    'BACK=`a "b" \'c\'`',
    'UTF8=é😀',
    'URL=https://example.com/?a=b#c',
    'SPACED = a b c   ',
    'YAML: like',
    `SEVERAL="one\n${key}=inside\nthree"`,
    `HEREDOC='-----BEGIN-----\n  ${key}: x\n-----END-----'`,
    'no assignment at all',
    '=nothing before it',
    'export',
    'JSON={"refreshToken": "x"}',
    'CR=a\rb',
  ])
}
