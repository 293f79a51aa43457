// @ts-check
// What every script of this project does as a command: where the project is, how a program is run, and how the script ends.
import { spawnSync } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Whether a module is the script that Node was started with, also by a path with links. @param {string} url its `import.meta.url` */
export function isMain(url) {
  const script = process.argv[1]
  return script !== undefined && existsSync(script) && realpathSync(script) === fileURLToPath(url)
}

/** An error whose sentence says all. */
export class Failure extends Error {}

/**
 * Runs what a script of this folder does. A failure, or an error of the system (such as a file that is not there), ends it with its sentence
 * and exit code 1. An error of the script itself shows its stack.
 * @param {() => void | Promise<void>} script
 */
export async function asCommand(script) {
  try {
    await script()
  } catch (error) {
    if (!(error instanceof Failure) && !(error instanceof Error && 'syscall' in error)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}

/**
 * Runs a command with its output shown, and ends this process if the command fails.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 */
export function run(command, args, options = {}) {
  console.log(`\n$ ${command} ${args.join(' ')}`)
  const { status, error } = spawnSync(command, args, {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'inherit', 'inherit'],
    // On Windows npm is a script, which needs a shell. Other programs do not, and their paths may have spaces.
    shell: process.platform === 'win32' && command === 'npm',
  })
  if (error) {
    console.error(`\n${command} cannot be started: ${error.message}`)
    process.exit(1)
  }
  if (status !== 0) {
    console.error(`\n${command} ${args.join(' ')} failed (${status ?? 'killed'})`)
    process.exit(status ?? 1)
  }
}
