// @ts-check
// The part of Homebridge that the plugins in the documents need, as a script that starts and stops them.

/**
 * A script that starts the plugin in `./plugin.cjs` with its block of `./config.json`, waits until it has a token or has
 * reported a problem, and stops it. It prints the result as one line of JSON.
 */
export const HOMEBRIDGE = `
  const { EventEmitter } = require('node:events')
  const { readFileSync } = require('node:fs')
  const { join } = require('node:path')
  const configPath = join(__dirname, 'config.json')
  const lines = []
  const log = Object.fromEntries(['error', 'warn', 'info', 'debug'].map((level) => [level, (text) => lines.push([level, text])]))
  const api = Object.assign(new EventEmitter(), {
    user: { configPath: () => configPath, storagePath: () => __dirname },
    registerPlatform(...names) {
      const [name, Platform] = names.slice(-2)
      const config = JSON.parse(readFileSync(configPath, 'utf8')).platforms.find(({ platform }) => platform === name)
      const platform = new Platform(log, config, api)
      platform.configureAccessory({})
      api.emit('didFinishLaunching')
      const wait = () => {
        if (platform.manager?.status.state !== 'ready' && lines.every(([level]) => level !== 'error')) return setTimeout(wait, 10)
        api.emit('shutdown')
        platform.manager?.close().then(() => console.log(JSON.stringify({ name, lines, status: platform.manager.status, token: platform.manager.refreshToken })))
      }
      wait()
    },
  })
  require('./plugin.cjs')(api)
`
