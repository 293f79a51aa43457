// @ts-check
'use strict'

// The purpose of standard input, as far as the core cannot see it.

/**
 * @typedef {object} Input
 * @property {string} platform as `process.platform`
 * @property {string} command the path of the script that is run, as `process.argv[1]`
 * @property {NodeJS.ProcessEnv} env
 * @property {boolean} isPipe whether standard input is a pipe
 */

/**
 * `mintty` if a person types at the other end of a pipe, `answers` if a pipe may answer all questions, otherwise undefined.
 * @param {Input} input
 * @returns {'mintty' | 'answers' | undefined}
 */
function standardInput({ platform, command, env, isPipe }) {
  if (platform === 'win32' && isPipe && isMintty(env)) return 'mintty'
  return isCli(command) ? 'answers' : undefined
}

/**
 * Whether this was started in a window of Git Bash, MSYS2 or Cygwin. If that window runs a console of Windows, standard input is
 * not a pipe.
 * @param {NodeJS.ProcessEnv} env
 */
function isMintty(env) {
  return env['TERM_PROGRAM'] === 'mintty' || Boolean(env['MSYSTEM']) || env['TERM'] === 'cygwin'
}

/**
 * Whether the command has the name of ring-client-api's command, which programs drive with pipes.
 * @param {string} command
 */
function isCli(command) {
  return /(^|[/\\])ring-auth-cli(\.[cm]?js)?$/.test(command)
}

module.exports = { isCli, standardInput }
