// @ts-check
// The completions in the shells themselves, and the manual page as `man` formats it. The help, the completions, the
// manual page and docs/cli.md name the same options. All but docs/cli.md come from one table in the program.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe, it } from 'node:test'
import { Screen, bin, run } from './support/cli.mjs'
import { tempDir } from './support/index.mjs'
import { text } from './support/pages.mjs'
import { needs, shell } from './support/systems.mjs'

/** @typedef {import('node:test').TestContext} TestContext */

const HELP = (await run(['--help'])).stdout
/** Each option with the placeholder of its value, as the help shows it. */
const OPTIONS = [...HELP.matchAll(/^ +(--[a-z-]+)(?:, -\w)?((?: [A-Z]+| \[[A-Z]+\])?)(?: {2}|$)/gm)].map(
  ([, long = '', value = '']) => ({
    long,
    usage: long + value,
  }),
)

/** The `skip` of a test that needs a program. @param {string} program */
const withProgram = (program) => shell || needs(program, () => spawnSync(program, ['--version']).status === 0)

/** An environment in which `ring-auth` is the command of this tree. @param {TestContext} t */
function environment(t) {
  const folder = tempDir(t)
  mkdirSync(join(folder, 'bin'))
  symlinkSync(bin, join(folder, 'bin', 'ring-auth'))
  writeFileSync(join(folder, 'token file.json'), '')
  const env = {
    ...process.env,
    HOME: folder,
    PATH: `${join(folder, 'bin')}${delimiter}${process.env['PATH']}`,
    TERM: 'xterm',
  }
  return { folder, env }
}

/** The words that a command takes, and some that it does not. */
const CASES = /** @type {const} */ ([
  { typed: ['sta'], finds: ['status'] },
  { typed: ['to'], finds: ['token'] },
  { typed: ['status', '--max'], finds: ['--max-age'] },
  { typed: ['token', '--max'], finds: [] },
  { typed: ['--em'], finds: ['--email'] },
  { typed: ['login', '--tls-'], finds: ['--tls-cert', '--tls-key'] },
  { typed: ['login', '--login-flow', 'p'], finds: ['pkce', 'password'] },
  { typed: ['watch', '--json', '--on'], finds: ['--on-change'] },
  { typed: ['completions', 'f'], finds: ['fish'] },
])

describe('the completions', () => {
  it('the completions of bash know the commands, their options and the values of these', {
    skip: withProgram('bash'),
  }, (t) => {
    const { env, folder } = environment(t)
    for (const { typed, finds } of CASES) {
      const script = `eval "$(ring-auth completions bash)" && COMP_WORDS=(ring-auth "$@") && COMP_CWORD=$# && _ring_auth; printf '%s\\n' "\${COMPREPLY[@]}"`
      const found = execFileSync('bash', ['--norc', '-c', script, 'bash', ...typed], {
        env,
        cwd: folder,
        encoding: 'utf8',
      })
      assert.deepEqual(found.split('\n').filter(Boolean), finds, typed.join(' '))
    }
  })

  it('the completions of bash leave the names of files to the shell', { skip: withProgram('bash') }, async (t) => {
    const { env, folder } = environment(t)
    const screen = new Screen(t, 'bash', ['--norc', '-i'], { env, cwd: folder })
    screen.pty.write('eval "$(ring-auth completions bash)"; echo re""ady\r')
    await screen.answers('ready', 'ring-auth status --state-file tok\t')
    await screen.sees('token\\ file.json')
  })

  it('the completions of zsh complete at its prompt', { skip: withProgram('zsh') }, async (t) => {
    const { env, folder } = environment(t)
    const screen = new Screen(t, 'zsh', ['-f', '-i'], { env, cwd: folder })
    // Ctrl-X prints the whole line: zsh itself draws only the changes.
    const show = `show() { print -r -- "[[$BUFFER]]" }; zle -N show; bindkey '^X' show`
    screen.pty.write(
      `autoload -U compinit; compinit -u -D; eval "$(ring-auth completions zsh)"; ${show}; echo re""ady\r`,
    )
    await screen.sees('ready\r')
    for (const [typed, line] of [
      ['ring-auth sta\t--max\t', 'ring-auth status --max-age '],
      ['ring-auth login --login-flow pk\t', 'ring-auth login --login-flow pkce '],
      ['ring-auth token --max\t', 'ring-auth token --max'],
      ['ring-auth status --state-file tok\t', 'ring-auth status --state-file token\\ file.json '],
      ['ring-auth completions f\t', 'ring-auth completions fish '],
    ]) {
      screen.pty.write(`${typed}\u0018`)
      await screen.sees(`[[${line}]]`)
      screen.pty.write('\u0015')
    }
  })

  it('the completions of fish know the commands, their options and the values of these', {
    skip: withProgram('fish'),
  }, (t) => {
    const { env, folder } = environment(t)
    for (const { typed, finds } of CASES) {
      const script = 'ring-auth completions fish | source; complete -C "$argv"'
      const line = ['ring-auth', ...typed].join(' ')
      const found = execFileSync('fish', ['--no-config', '-c', script, line], { env, cwd: folder, encoding: 'utf8' })
      const words = found
        .split('\n')
        .filter(Boolean)
        .map((each) => each.split('\t')[0])
      assert.deepEqual(words.sort(), [...finds].sort(), line)
    }
  })

  it('the completions exist for four shells, and any other name is refused', async () => {
    for (const args of [['completions'], ['completions', 'tcsh']]) {
      const { code, stdout, stderr } = await run(args)
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, /completions needs the name of a shell: bash, zsh, fish, powershell\./)
    }
    for (const name of ['bash', 'zsh', 'fish', 'powershell']) {
      const { code, stdout } = await run(['completions', name])
      assert.equal(code, 0)
      for (const { long } of OPTIONS) assert.ok(stdout.includes(long.slice(2)), `${name}: ${long}`)
    }
  })
})

describe('the manual page', () => {
  it('the manual page is formatted without a warning, and names every option', {
    skip: withProgram('groff'),
  }, async () => {
    const { stdout } = await run(['man'])
    const set = spawnSync('groff', ['-man', '-Tascii', '-P-c', '-ww', '-rLL=300n'], { input: stdout, encoding: 'utf8' })
    assert.deepEqual([set.status, set.stderr], [0, ''])
    // Bold characters are printed twice, with a backspace between.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is the backspace that is searched for
    const plain = set.stdout.replace(/.\u0008/g, '')
    for (const { usage } of OPTIONS) assert.ok(plain.includes(usage), usage)
    assert.match(plain, /NAME\n +ring-auth - get a Ring refresh token/)
  })
})

describe('bin/ring-auth.js', () => {
  it('bin/ring-auth.js knows the options without a value that the help shows, and no other', () => {
    const [, known = '', letters = ''] = /\^--\(([a-z|-]+)\)\$\|\^-\[(\w+)\]/.exec(readFileSync(bin, 'utf8')) ?? []
    const needed = OPTIONS.filter(({ usage }) => !/ [A-Z]+$/.test(usage))
    assert.deepEqual(known.split('|'), needed.map(({ long }) => long.slice(2)).sort())
    const shorts = [...HELP.matchAll(/^ +--[a-z-]+, -(\w) {2}/gm)].map(([, letter]) => letter)
    assert.deepEqual([...letters].sort(), shorts.sort())
  })
})

describe('docs/cli.md', () => {
  it('docs/cli.md explains each option as the help shows it, and no other', () => {
    assert.ok(OPTIONS.length > 30, String(OPTIONS.length))
    const rows = text('docs/cli.md')
      .split('\n')
      .filter((line) => line.startsWith('| `--'))
    const explained = rows.flatMap((row) =>
      [...(row.split('|')[1] ?? '').matchAll(/`(--[^`]+)`/g)].map(([, usage]) => usage),
    )
    assert.deepEqual(explained.sort(), OPTIONS.map(({ usage }) => usage).sort())
  })
})
