#!/usr/bin/env node
// The options that need no value, as the help has them: a test compares the two. Without a binary nobody else knows them.
const NO_VALUE =
  /^--(force|help|homebridge|json|new-device|on-change|password-stdin|quiet|refresh-token-stdin|unseal|verbose|version|web)$|^-[qvhV]$|=/
const args = process.argv.slice(2)
const isDoctor = isCommand('doctor')
const addon = loaded()
const kind = kindOf(0)

// A terminal is a device. Loading node:tty to recognise it costs 2 ms at each start, and other devices have nothing to restore.
if (kind?.isCharacterDevice()) require('../lib/signals.js').beforeDeadlySignals(addon.restoreTerminal)

if (args.includes('watch')) require('../lib/signals.js').onEnd(addon.endWatch)

if (isDoctor) require('../lib/signals.js').beforeAnySignal(addon.endDoctor)

const surroundings = isDoctor ? require('../lib/doctor.js').surroundings() : undefined
const path = args.some((arg) => arg.startsWith('--store-module')) ? addon.storeModule(args) : null
if (path === null) {
  run().then((code) => {
    process.exitCode = code
  })
} else {
  const { end, loadStoreModule } = require('../lib/store-module.js')
  loadStoreModule(addon, path).then(run).then(end)
}

/** @param {Awaited<ReturnType<typeof import('../lib/store-module.js').loadStoreModule>>} [module] @returns {Promise<number>} */
function run(module) {
  if (args.includes('--web')) return require('../lib/web/cli.js').run(addon, args, module)
  return addon.runCli(args, input(), surroundings, module?.native)
}

/** Whether a word is the command and not the value of an option. @param {string} word */
function isCommand(word) {
  const before = args[args.indexOf(word) - 1] ?? ''
  const hasNoValue = !before.startsWith('-') || NO_VALUE.test(before)
  return args.includes(word) && hasNoValue
}

/** The addon. If it cannot be loaded, the user gets a sentence and not a stack. */
function loaded() {
  try {
    return require('../lib/load.js').load()
  } catch (error) {
    const { code, message } = /** @type {{ code?: string, message: string }} */ (error)
    if (code === undefined) throw error
    if (isDoctor) console.log(require('../lib/doctor.js').withoutBinary(args, { code, message }))
    console.error(`ring-auth: ${message} (${code})`)
    process.exit(1)
  }
}

/** The purpose of standard input. Most starts do not need the file, which costs half a millisecond. */
function input() {
  const { platform, env } = process
  const command = process.argv[1] ?? ''
  if (platform !== 'win32' && !command.includes('ring-auth-cli')) return undefined
  const { standardInput } = require('../lib/standard-input.js')
  return standardInput({ platform, command, env, isPipe: kind?.isFIFO() ?? false })
}

/** @param {number} file */
function kindOf(file) {
  try {
    // With bigint: Node keeps the other result, and after that of a pipe it does not follow the links in a node_modules of pnpm.
    return require('node:fs').fstatSync(file, { bigint: true })
  } catch {
    return undefined
  }
}
