// What programs made for ring-client-api do with its types, with ours in their place.
import { RingTokenManager, attachToRingApi } from 'ring-auth'
import * as ours from 'ring-auth/rest-client'
import { RingApi } from 'ring-client-api'
import type * as theirs from 'ring-client-api/rest-client'
import { filter, firstValueFrom, map } from 'rxjs'

// A value of ours, where theirs is asked for.
const client = new ours.RingRestClient({ email: 'a', password: 'b' })
export const asTheirs: theirs.RingRestClient = client
export class Page {
  restClient?: theirs.RingRestClient = new ours.RingRestClient({ refreshToken: 'x', systemId: 'y' })
}
const takesTheirs = (restClient: theirs.RingRestClient) => restClient.refreshToken
takesTheirs(client)

// What theirs is made of makes ours too.
type TheirOptions = ConstructorParameters<typeof theirs.RingRestClient>[0]
export const make = (options: TheirOptions): theirs.RingRestClient => new ours.RingRestClient(options)
export const helpers: Pick<typeof theirs, 'clientApi' | 'deviceApi' | 'commandsApi' | 'appApi'> = ours

// Neither is an `any` in disguise.
// @ts-expect-error: no such method
client.noSuchMethod()
// @ts-expect-error: a number is no URL
void client.request({ url: 7 })
// @ts-expect-error: neither e-mail nor token
new ours.RingRestClient(7)

export async function use(): Promise<Buffer> {
  const auth: Awaited<ReturnType<theirs.RingRestClient['getAuth']>> = await client.getAuth('123456')
  const current = await client.getCurrentAuth()
  const session: Awaited<ReturnType<theirs.RingRestClient['getSession']>> = await client.getSession()
  const data = await client.request<{ doorbots: string[] }>({
    url: ours.clientApi('ring_devices'),
    json: {},
    timeout: 5,
  })
  const text: string = data.doorbots.join() + data.responseTimestamp.toFixed() + session.profile.email
  const update = await firstValueFrom(
    client.onRefreshTokenUpdated.pipe(
      filter((it) => it.oldRefreshToken !== undefined),
      map((it) => it.newRefreshToken),
    ),
  )
  void [
    auth.access_token,
    current.expires_in,
    text,
    update.length,
    client.promptFor2fa?.length,
    client.using2fa === true,
  ]
  await client.close()
  const state: string = client.manager.status.state
  void state
  return client.request<Buffer>({
    url: 'https://app-snaps.ring.com/x',
    responseType: 'buffer',
    headers: { accept: 'image/jpeg' },
  })
}

const manager = new RingTokenManager({ store: { type: 'file', path: 'x' } })
const ringApi = new RingApi({ refreshToken: manager.refreshToken ?? '' })
const attachment = attachToRingApi(ringApi, manager)
attachment.detach()
// @ts-expect-error: not a RingApi
attachToRingApi({}, manager)
