// @ts-check
// The devices of every account: two locations, two cameras, a chime and an intercom, with the fields that ring-client-api reads.

const SETTINGS = {
  chime_settings: { type: 0, enable: true },
  sheila_settings: { local_storage_enabled: false },
  power_mode: 'battery',
}

export const LOCATIONS = [
  { location_id: 'location-1', name: 'Home', owner_id: 1, address: { city: 'Here' } },
  { location_id: 'location-2', name: 'Hut', owner_id: 1, address: { city: 'There' } },
]

export const DEVICES = {
  doorbots: [
    {
      id: 1,
      description: 'Front Door',
      kind: 'doorbell_v3',
      location_id: 'location-1',
      device_id: 'aabbcc000001',
      battery_life: '87',
      alerts: { connection: 'online', battery: 'ok' },
      features: {},
      settings: SETTINGS,
    },
  ],
  authorized_doorbots: [],
  chimes: [
    {
      id: 3,
      description: 'Hall',
      kind: 'chime_v2',
      location_id: 'location-1',
      alerts: { connection: 'online' },
      settings: { volume: 5 },
    },
  ],
  stickup_cams: [
    {
      id: 2,
      description: 'Yard',
      kind: 'hp_cam_v1',
      location_id: 'location-2',
      device_id: 'aabbcc000002',
      battery_life: null,
      led_status: 'off',
      siren_status: { seconds_remaining: 0 },
      alerts: { connection: 'online' },
      features: {},
      settings: SETTINGS,
    },
  ],
  base_stations: [],
  beams_bridges: [],
  other: [
    {
      id: 4,
      description: 'Gate',
      kind: 'intercom_handset_audio',
      location_id: 'location-2',
      battery_life: '50',
      alerts: { connection: 'online' },
      settings: {},
    },
  ],
}

/** An empty JPEG, with bytes that are not text. */
export const PICTURE = Buffer.from('ffd8ffe000104a46494600010100000100010000ffdb0043000302ffd9', 'hex')
