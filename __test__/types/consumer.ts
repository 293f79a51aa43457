// What a TypeScript project does with the package: compiled by `npm run typecheck`, never run.
import {
  parseRefreshToken,
  RingAuthError,
  RingTokenManager,
  type Auth,
  type CallOptions,
  type ErrorCode,
  type FileStore,
  type LogEntry,
  type LogLevel,
  type Logger,
  type LoginCredentials,
  type LoginFlow,
  type LoginStep,
  type MemoryStore,
  type Observable,
  type Observer,
  type ParsedRefreshToken,
  type RefreshOptions,
  type RefreshTokenUpdate,
  type RingTokenManagerOptions,
  type State,
  type Status,
  type Store,
  type Subscription,
  type TwoFactor,
} from 'ring-auth'

/** Fails to compile unless both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : never
export const same = <A, B>(_same: Same<A, B>): void => {}

declare const signal: AbortSignal
declare const environment: Record<string, string | undefined>

const everyOption: Required<RingTokenManagerOptions> = {
  refreshToken: 'token',
  store: { type: 'file', path: './ring-auth.json' },
  systemId: 'id',
  controlCenterDisplayName: 'name',
  loginFlow: 'auto',
  userAgent: 'agent',
  oauthUrl: 'https://oauth.ring.com',
  apiUrl: 'https://api.ring.com',
  requestTimeoutMs: 20000,
  autoRefresh: true,
  logger: ({ level, message }) => {
    same<typeof level, LogLevel>(true)
    same<typeof message, string>(true)
  },
}

export const managers: RingTokenManager[] = [
  new RingTokenManager(),
  new RingTokenManager({}),
  new RingTokenManager(everyOption),
  // An option that may be missing at run time can be passed on as it is, under exactOptionalPropertyTypes too.
  new RingTokenManager({ refreshToken: environment['RING_REFRESH_TOKEN'] }),
]

class Database {
  load(): string | undefined {
    return undefined
  }
  async save(newRefreshToken: string, oldRefreshToken?: string): Promise<void> {
    await Promise.resolve([newRefreshToken, oldRefreshToken])
  }
}

export const stores: Store[] = [
  { type: 'memory' },
  { type: 'file', path: '/data/ring.json' },
  { type: 'homebridge', configPath: '/data/config.json' },
  { type: 'homebridge', configPath: '/data/config.json', platform: 'Mine', name: 'Home', statePath: '/data/state' },
  { type: 'homebridge', configPath: '/data/config.json', addBlock: true },
  { type: 'dotenv', path: '.env' },
  { type: 'dotenv', path: '.env', key: 'TOKEN', statePath: undefined },
  { type: 'file', path: '/data/ring.json', key: new Uint8Array(32) },
  { type: 'homebridge', configPath: '/data/config.json', key: 'base64' },
  { type: 'dotenv', path: '.env', envKey: 'TOKEN', key: async () => 'hex' },
  { load: () => null, save: () => {} },
  { load: () => null, save: () => {}, statePath: '/data/state', key: () => new Uint8Array(32) },
  { load: async () => undefined, save: async () => {}, statePath: '/data/state' },
  new Database(),
]
export const memory: MemoryStore = { type: 'memory' }
export const file: FileStore = { type: 'file', path: '/data/ring.json' }
export const flows: LoginFlow[] = ['auto', 'pkce', 'password']

export function describeStore(store: Store): string {
  switch (store.type) {
    case 'memory':
      // @ts-expect-error: the memory store has no path
      store.path
      return 'memory'
    case 'file':
      same<typeof store.path, string>(true)
      return store.path
    case 'homebridge':
      return store.configPath
    case 'dotenv':
      return store.path
    case undefined:
      return store.statePath ?? 'your own'
  }
}

export function refused(manager: RingTokenManager): void {
  // @ts-expect-error: an unknown option
  new RingTokenManager({ refreshtoken: 'token' })
  // @ts-expect-error: a file store needs its path
  new RingTokenManager({ store: { type: 'file' } })
  // @ts-expect-error: a path without the file store
  new RingTokenManager({ store: { type: 'memory', path: '/data/ring.json' } })
  // @ts-expect-error: it is called configPath
  new RingTokenManager({ store: { type: 'homebridge', path: '/config.json' } })
  // @ts-expect-error: both are needed
  new RingTokenManager({ store: { load: () => null } })
  // @ts-expect-error: a token is a text
  new RingTokenManager({ store: { load: () => 5, save: () => {} } })
  // @ts-expect-error: an unknown flow
  new RingTokenManager({ loginFlow: 'oauth' })
  // @ts-expect-error: null is no options object
  new RingTokenManager(null)
  // @ts-expect-error: codes are strings
  manager.submitTwoFactorCode(123456)
  // @ts-expect-error: both are needed
  manager.login({ email: 'a@example.com' })
  // @ts-expect-error: only refresh can be forced
  manager.getAccessToken({ force: true })
  // @ts-expect-error: null removes them, undefined does not
  manager.setPushCredentials(undefined)
  // @ts-expect-error: read only
  manager.refreshToken = 'token'
  // @ts-expect-error: errors are made by the package alone
  new RingAuthError('CLOSED', 'closed')
}

export async function everyMethod(manager: RingTokenManager): Promise<void> {
  const credentials: LoginCredentials = { email: 'a@example.com', password: ' p ' }
  const steps: LoginStep[] = [
    await manager.login(credentials),
    await manager.submitTwoFactorCode('012345'),
    await manager.resendTwoFactorCode(),
  ]
  for (const { authenticated, twoFactor } of steps) {
    same<typeof authenticated, boolean>(true)
    if (twoFactor) {
      const { method, destination, resendInSeconds, prompt }: TwoFactor = twoFactor
      same<typeof method, 'sms' | 'email' | 'totp' | 'unknown'>(true)
      same<typeof destination, string | undefined>(true)
      same<typeof resendInSeconds, number | undefined>(true)
      same<typeof prompt, string>(true)
    }
  }

  const options: CallOptions = { signal }
  const refreshOptions: RefreshOptions = { force: true, signal }
  const accessToken: string = await manager.getAccessToken()
  await manager.getAccessToken(options)
  await manager.getAccessToken({ signal: undefined })
  const auths: Auth[] = [
    await manager.getAuth(),
    await manager.getAuth(options),
    await manager.refresh(),
    await manager.refresh({ force: true }),
    await manager.refresh(refreshOptions),
  ]
  const [auth] = auths
  same<typeof auth, Auth | undefined>(true)
  same<Auth['expiresAt'], number>(true)
  same<keyof Auth, 'accessToken' | 'tokenType' | 'scope' | 'expiresAt' | 'refreshToken' | 'hardwareId'>(true)

  // biome-ignore lint/suspicious/noConfusingVoidType: the declared type is what is checked
  const nothing: void = manager.invalidateAccessToken(accessToken)
  // biome-ignore lint/suspicious/noConfusingVoidType: the declared type is what is checked
  const alsoNothing: void = await manager.setRefreshToken('token')
  await manager.setPushCredentials({ any: ['thing'] })
  await manager.setPushCredentials(null)
  void [nothing, alsoNothing]

  same<typeof manager.refreshToken, string | null>(true)
  same<typeof manager.hardwareId, string | null>(true)
  const status: Status = manager.status
  const state: State = status.state
  same<typeof state, 'idle' | 'ready' | 'refreshing' | 'waiting' | 'needs-login'>(true)
  same<typeof status.code, ErrorCode | undefined>(true)
  same<typeof status.message, string | undefined>(true)
  same<typeof status.retryAt, number | undefined>(true)
  same<typeof status.persisted, boolean>(true)

  const updates: Observable<RefreshTokenUpdate> = manager.onRefreshTokenUpdated
  const subscriptions: Subscription[] = [
    updates.subscribe(({ oldRefreshToken, newRefreshToken }) => {
      same<typeof oldRefreshToken, string | undefined>(true)
      same<typeof newRefreshToken, string>(true)
    }),
    updates.subscribe(async ({ newRefreshToken }) => void newRefreshToken),
    manager.onStatus.subscribe({ next: (value) => same<typeof value, Status>(true) }),
    manager.onStatus.subscribe({}),
  ]
  const observer: Observer<Status> = { next() {} }
  manager.onStatus.subscribe(observer).unsubscribe()
  // What RxJS's from() takes.
  const interop: { [Symbol.observable]: () => Observable<RefreshTokenUpdate> } = updates
  void interop
  for (const subscription of subscriptions) subscription.unsubscribe()

  same<ReturnType<RingTokenManager['close']>, Promise<void>>(true)
  await manager.close()
  await manager[Symbol.asyncDispose]()
}

export function everyError(error: unknown): string {
  if (!(error instanceof RingAuthError)) throw error
  const plain: Error = error
  same<typeof error.code, ErrorCode>(true)
  same<typeof error.transient, boolean>(true)
  same<typeof error.httpStatus, number | undefined>(true)
  same<typeof error.retryAfterMs, number | undefined>(true)
  same<typeof error.cause, unknown>(true)
  switch (error.code) {
    case 'TWO_FACTOR_REQUIRED':
    case 'NO_REFRESH_TOKEN':
    case 'REFRESH_TOKEN_REJECTED':
      return 'log in'
    // @ts-expect-error: not a code
    case 'UNKNOWN':
      return ''
    default:
      return plain.message
  }
}

export const loggers: Logger[] = [
  (entry: LogEntry) => void entry.message,
  { error() {}, warn() {}, info() {} },
  {
    error: (message) => same<typeof message, string>(true),
    warn(message: string, ..._more: unknown[]) {
      void message
    },
    info: async () => {},
    debug: () => 1,
  },
  // As Homebridge's `Logging`, which can be called, and as pino's methods with several signatures.
  {} as {
    (message: string, ...parameters: unknown[]): void
    error(message: string, ...parameters: unknown[]): void
    warn(message: string, ...parameters: unknown[]): void
    info(message: string, ...parameters: unknown[]): void
    debug(message: string, ...parameters: unknown[]): void
  },
  {} as Record<
    LogLevel,
    { <T>(obj: T, message?: string, ...args: unknown[]): void; (message: string, ...args: unknown[]): void }
  >,
  // @ts-expect-error: no `info`
  { error() {}, warn() {} },
]

const parsed: ParsedRefreshToken = parseRefreshToken('token')
same<typeof parsed.raw, string>(true)
same<typeof parsed.hardwareId, string | undefined>(true)
same<typeof parsed.hasPushCredentials, boolean>(true)
