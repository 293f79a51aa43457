// The drop-in in a project without ring-client-api: it has types of its own.
import { RingRestClient, appApi, clientApi, commandsApi, deviceApi } from 'ring-auth/rest-client'

export const client = new RingRestClient({ refreshToken: 'x', store: { type: 'file', path: 'y' }, userAgent: 'z' })
export const urls: string[] = [clientApi('a'), deviceApi('b'), commandsApi('c'), appApi('d')]

// @ts-expect-error: no such method
client.noSuchMethod()
// @ts-expect-error: a number is no URL
void client.request({ url: 7 })
// @ts-expect-error: an unknown option
new RingRestClient({ refreshToken: 'x', noSuchOption: 1 })

export async function use(): Promise<number> {
  const { access_token, expires_in } = await client.getAuth('123456')
  const { newRefreshToken }: { newRefreshToken: string } = await new Promise((resolve) => {
    client.onRefreshTokenUpdated.subscribe(resolve)
  })
  const data = await client.request<{ items: number[] }>({ url: clientApi('x'), method: 'PUT', json: {}, signal: null })
  return data.items.length + data.timeMillis + expires_in + access_token.length + newRefreshToken.length
}
