// A Homebridge platform that shows which Ring devices are online. It is small, so that you can copy it. The numbered comments mark
// everything that a plugin has to do about tokens. The plugin itself never saves a token.

import type { API, DynamicPlatformPlugin, Logging, PlatformAccessory, PlatformConfig } from 'homebridge'
import { RingAuthError, RingTokenManager } from 'ring-auth'
import { PLATFORM_NAME, PLUGIN_NAME } from './settings.js'

/** Ring refuses requests whose `User-Agent` does not look like its app. */
const USER_AGENT = 'android:com.ringapp:3.113.0(70497080)'
/** The codes that need a person. */
const LOGIN_NEEDED = ['NO_REFRESH_TOKEN', 'REFRESH_TOKEN_REJECTED']

/** The part of a device that this plugin uses. */
interface Device {
  id: number
  description: string
  alerts?: { connection?: string }
}

export class RingPlatform implements DynamicPlatformPlugin {
  /** The accessories that Homebridge has restored, and those that this plugin has added. */
  private readonly accessories = new Map<string, PlatformAccessory>()
  private readonly manager: RingTokenManager | undefined
  private readonly apiUrl: string
  private readonly pollMs: number
  private timer: NodeJS.Timeout | undefined
  private stopped = false
  /** The problem that was logged last. The plugin logs each problem once, not at every poll. */
  private problem = ''

  constructor(
    private readonly log: Logging,
    config: PlatformConfig,
    private readonly api: API,
  ) {
    this.apiUrl = config.apiUrl ?? 'https://api.ring.com'
    this.pollMs = (Number(config.pollSeconds) > 0 ? Number(config.pollSeconds) : 60) * 1000
    try {
      // 1. One manager. It reads the token from the block in config.json and writes each new one there, so do not pass
      //    `config.refreshToken`. Its journal is in `.ring-auth` beside config.json, where the command line finds it too.
      this.manager = new RingTokenManager({
        store: { type: 'homebridge', configPath: api.user.configPath(), platform: PLATFORM_NAME, name: config.name },
        controlCenterDisplayName: PLUGIN_NAME,
        logger: log,
        // Only needed for a gateway in front of Ring.
        oauthUrl: config.oauthUrl,
        apiUrl: config.apiUrl,
      })
    } catch (error) {
      // 2. Catch errors of the constructor: thrown from here they would end Homebridge with all other plugins.
      log.error(`${PLATFORM_NAME} does not start: ${sentence(error)}`)
      return
    }
    api.on('didFinishLaunching', () => void this.poll())
    api.on('shutdown', () => void this.stop())
  }

  /** Homebridge calls this for each accessory that it has restored from its cache. */
  configureAccessory(accessory: PlatformAccessory): void {
    this.accessories.set(accessory.UUID, accessory)
  }

  private async stop(): Promise<void> {
    this.stopped = true
    clearTimeout(this.timer)
    // 3. Close the manager at shutdown. It finishes a rotation under way and its writes. Homebridge waits up to five seconds.
    await this.manager?.close()
  }

  /** Updates all accessories and schedules the next poll. Never rejects. */
  private async poll(): Promise<void> {
    try {
      this.show(await this.request('/clients_api/ring_devices'))
      this.problem = ''
    } catch (error) {
      if (!this.stopped) this.report(error)
    }
    clearTimeout(this.timer)
    if (!this.stopped) this.timer = setTimeout(() => void this.poll(), this.pollMs)
  }

  /** Sends a request to Ring's API. */
  private async request(path: string): Promise<Record<string, Device[]>> {
    for (let canRetry = true; ; canRetry = false) {
      if (!this.manager) throw new Error('There is no manager.')
      // 4. Ask for the access token before each request and do not keep it. While it is valid, this costs nothing.
      const { accessToken, hardwareId } = await this.manager.getAuth()
      const response = await fetch(this.apiUrl + path, {
        headers: { authorization: `Bearer ${accessToken}`, hardware_id: hardwareId, 'user-agent': USER_AGENT },
        signal: AbortSignal.timeout(20_000),
      })
      if (response.ok) return (await response.json()) as Record<string, Device[]>
      // 5. After a 401, report the access token and ask again. The manager refreshes once, however many calls report it.
      if (response.status === 401 && canRetry) this.manager.invalidateAccessToken(accessToken)
      else throw new Error(`Ring's API answered ${response.status}.`)
    }
  }

  /** Shows one sensor for each device. It is on while the device is connected to Ring. */
  private show(answer: Record<string, Device[]>): void {
    const { Characteristic, Service, uuid } = this.api.hap
    for (const device of Object.values(answer).flat()) {
      const id = uuid.generate(`${PLATFORM_NAME}-${device.id}`)
      let accessory = this.accessories.get(id)
      if (!accessory) {
        accessory = new this.api.platformAccessory(device.description, id)
        accessory.addService(Service.OccupancySensor, device.description)
        this.accessories.set(id, accessory)
        this.api.registerPlatformAccessories(PLUGIN_NAME, PLATFORM_NAME, [accessory])
        this.log.info(`Added ${device.description}.`)
      }
      const isOnline = device.alerts?.connection !== 'offline'
      accessory
        .getService(Service.OccupancySensor)
        ?.updateCharacteristic(Characteristic.OccupancyDetected, isOnline ? 1 : 0)
    }
  }

  private report(error: unknown): void {
    const isOfToken = error instanceof RingAuthError
    // 6. Only these two codes need a person. All other problems with the token end by themselves, and the manager has logged them.
    const needsLogin = isOfToken && LOGIN_NEEDED.includes(error.code)
    const problem = needsLogin ? 'login' : sentence(error)
    if (problem === this.problem) return
    this.problem = problem
    if (needsLogin) {
      const command = `npx ring-auth login --homebridge "${this.api.user.configPath()}" --platform ${PLATFORM_NAME}`
      this.log.error(`Ring needs you to log in. Do it in the settings of this plugin, or run \`${command}\`.`)
      // 7. The manager notices a login on the settings page or on the command line within 20 seconds, without a restart.
      this.manager?.waitForLogin().then(
        () => this.poll(),
        () => {}, // The manager was closed.
      )
    } else if (isOfToken) {
      this.log.debug(problem)
    } else {
      this.log.warn(problem)
    }
  }
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
