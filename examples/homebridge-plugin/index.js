// @ts-check
'use strict'

// A Homebridge platform that shows which Ring devices are online: small, so that it can be copied. What it has to do with
// tokens is marked with numbers, and is all there is to do: nothing here saves one.

const { RingAuthError, RingTokenManager } = require('ring-auth')

const PLUGIN = 'homebridge-ring-auth-example'
// A name of your own. `Ring` is the block of homebridge-ring, which rotates the token in it: one token has one keeper.
const PLATFORM = 'RingAuthExample'
const USER_AGENT = 'android:com.ringapp:3.113.0(70497080)' // Ring refuses what does not look like its app.
const LOGIN_NEEDED = ['NO_REFRESH_TOKEN', 'REFRESH_TOKEN_REJECTED']

/** @param {any} api Homebridge's API */
module.exports = (api) => api.registerPlatform(PLUGIN, PLATFORM, RingPlatform)

class RingPlatform {
  /** Those that Homebridge remembers, and those that we add. @type {Map<string, any>} */
  accessories = new Map()
  /** The problem that was logged last: each is logged once, not at every poll. */
  problem = ''

  /**
   * @param {any} log Homebridge's logger
   * @param {any} config our block of config.json
   * @param {any} api Homebridge's API
   */
  constructor(log, config, api) {
    this.log = log
    this.api = api
    this.apiUrl = config.apiUrl ?? 'https://api.ring.com'
    this.pollMs = (Number(config.pollSeconds) > 0 ? Number(config.pollSeconds) : 60) * 1000
    try {
      // 1. One manager. It keeps its journal in `.ring-auth` beside config.json, and the newest token in config.json.
      //    No `statePath`: so the command line (`npx ring-auth … --homebridge`) finds the same journal. No `systemId`:
      //    the device id comes with the token, and is kept with it.
      this.manager = new RingTokenManager({
        store: { type: 'homebridge', configPath: api.user.configPath(), platform: PLATFORM, name: config.name },
        refreshToken: config.refreshToken,
        controlCenterDisplayName: PLUGIN,
        logger: (/** @type {import('ring-auth').LogEntry} */ { level, message }) => log[level](message),
        oauthUrl: config.oauthUrl, // For gateways; almost nobody has these two.
        apiUrl: config.apiUrl,
      })
    } catch (error) {
      // 2. What is thrown here would end Homebridge, and everybody else's plugins with it.
      log.error(`${PLATFORM} does not start: ${sentence(error)}`)
      return
    }
    api.on('didFinishLaunching', () => this.poll())
    api.on('shutdown', () => this.stop())
  }

  /** Homebridge hands back the accessories of the last time. @param {any} accessory */
  configureAccessory(accessory) {
    this.accessories.set(accessory.UUID, accessory)
  }

  async stop() {
    clearTimeout(this.timer)
    this.stopped = true
    // 3. Finishes a rotation under way, and what it has to write. Homebridge gives a plugin five seconds.
    await this.manager?.close()
  }

  /** Never rejects: nobody would catch it. */
  async poll() {
    try {
      this.show(await this.ask('/clients_api/ring_devices'))
      this.problem = ''
    } catch (error) {
      if (!this.stopped) this.report(error)
    }
    clearTimeout(this.timer)
    if (!this.stopped) this.timer = setTimeout(() => this.poll(), this.pollMs)
  }

  /**
   * What Ring's API answers.
   * @param {string} path
   * @returns {Promise<any>}
   */
  async ask(path) {
    for (let again = true; ; again = false) {
      if (!this.manager) throw new Error('There is no manager.')
      // 4. Ask for the access token before each request, and keep it nowhere: while it is valid that costs nothing.
      const { accessToken, hardwareId } = await this.manager.getAuth()
      const response = await fetch(this.apiUrl + path, {
        headers: { authorization: `Bearer ${accessToken}`, hardware_id: hardwareId, 'user-agent': USER_AGENT },
        signal: AbortSignal.timeout(20_000),
      })
      if (response.ok) return response.json()
      // 5. A 401 says that the access token is dead. The next getAuth() gets another one, once, however many saw it.
      if (response.status === 401 && again) this.manager.invalidateAccessToken(accessToken)
      else throw new Error(`Ring's API answered ${response.status}.`)
    }
  }

  /**
   * One sensor per device, which is on while Ring reaches it.
   * @param {Record<string, any>} answer
   */
  show(answer) {
    const { Characteristic, Service, uuid } = this.api.hap
    const devices = Object.values(answer).flat()
    for (const device of devices) {
      const id = uuid.generate(`${PLATFORM}-${device.id}`)
      let accessory = this.accessories.get(id)
      if (!accessory) {
        accessory = new this.api.platformAccessory(device.description, id)
        accessory.addService(Service.OccupancySensor, device.description)
        this.accessories.set(id, accessory)
        this.api.registerPlatformAccessories(PLUGIN, PLATFORM, [accessory])
        this.log.info(`Added ${device.description}.`)
      }
      const isOnline = device.alerts?.connection !== 'offline'
      accessory
        .getService(Service.OccupancySensor)
        .updateCharacteristic(Characteristic.OccupancyDetected, isOnline ? 1 : 0)
    }
  }

  /** @param {unknown} error */
  report(error) {
    const isOfToken = error instanceof RingAuthError
    // 6. Only these two need a person. Everything else of the token goes away by itself, and the logger has said it already.
    const needsLogin = isOfToken && LOGIN_NEEDED.includes(error.code)
    const problem = needsLogin ? 'login' : sentence(error)
    if (problem === this.problem) return
    this.problem = problem
    if (needsLogin) {
      const command = `npx ring-auth login --homebridge "${this.api.user.configPath()}" --platform ${PLATFORM}`
      this.log.error(`Ring needs you to log in. Do it in the settings of this plugin, or run \`${command}\`.`)
      // 7. A login on the settings page or on the command line is noticed within 20 seconds: nobody restarts Homebridge.
      this.manager?.waitForLogin().then(
        () => this.poll(),
        () => {}, // The manager was closed.
      )
    } else {
      this.log[isOfToken ? 'debug' : 'warn'](problem)
    }
  }
}

/** @param {unknown} error */
function sentence(error) {
  return error instanceof Error ? error.message : String(error)
}
