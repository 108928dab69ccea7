import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose'
import { z } from 'zod'
import { secureUrl } from '../../shared/api/index.ts'
import { hashOf } from '../../shared/ledger/index.ts'
import type { Principal } from '../directory/index.ts'
import { ApiError } from './fault.ts'

const isTrusted = (text: string): boolean => {
  const url = secureUrl(text)
  return url !== null && url.search === '' && url.hash === ''
}

/** Whom the tokens of an identity provider speak for: the first rule whose claims are all there decides. */
export const oidcRulesSchema = z
  .array(
    z.strictObject({
      issuer: z.string().refine(isTrusted),
      audience: z.string().min(1),
      scope: z.enum(['admin', 'operator', 'auditor']),
      /** Text, of which a last `*` stands for anything. A claim that is a list has one entry like it. */
      claims: z.record(z.string().min(1), z.string().min(1)).refine((claims) => Object.keys(claims).length > 0),
    }),
  )
  .min(1)
  .max(100)
export type OidcRule = z.infer<typeof oidcRulesSchema>[number]

/** Signatures by a key that the coordinator does not have. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const CLOCK_SKEW_SECONDS = 30
const TIMEOUT_MS = 5000

const discoverySchema = z.looseObject({ issuer: z.string(), jwks_uri: z.string().refine(isTrusted) })

type KeySet = ReturnType<typeof createRemoteJWKSet>

/** Tells whom a JSON Web Token speaks for, or null. */
export type Identify = (token: string) => Promise<Principal | null>

/**
 * Accepts tokens of OpenID Connect providers (OpenID Connect Discovery 1.0, RFC 7519, RFC 7517) beside the coordinator's own.
 * Provider's keys are fetched when a token names one that is not known, at most every 30 seconds.
 */
export function identifyBy(rules: readonly OidcRule[], ports: { now: () => number }): Identify {
  const keySets = new Map<string, KeySet>()

  async function keysOf(issuer: string): Promise<KeySet> {
    const known = keySets.get(issuer)
    if (known) return known
    const made = createRemoteJWKSet(new URL(await discover(issuer)), { timeoutDuration: TIMEOUT_MS })
    keySets.set(issuer, made)
    return made
  }

  return async function identify(token) {
    const issuer = issuerOf(token)
    const own = rules.filter((rule) => rule.issuer === issuer)
    if (own.length === 0) return null
    const keys = await keysOf(own[0]!.issuer)
    const settings = {
      issuer: own[0]!.issuer,
      audience: own.map(({ audience }) => audience),
      algorithms: ALGORITHMS,
      clockTolerance: CLOCK_SKEW_SECONDS,
      currentDate: new Date(ports.now()),
      requiredClaims: ['exp', 'sub'],
    }
    try {
      const { payload } = await jwtVerify(token, keys, settings)
      const rule = own.find((each) => fits(each, payload))
      if (!rule) return null
      const caller = `oidc-${hashOf([payload.iss, payload.sub]).slice(0, 32)}`
      return { token: caller, scope: rule.scope, worker: null }
    } catch (error) {
      if (isAway(error)) throw new ApiError('identity_unavailable')
      if (error instanceof errors.JOSEError) return null
      throw error
    }
  }
}

/** Where a provider keeps its keys. @throws ApiError `identity_unavailable` */
async function discover(issuer: string): Promise<string> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  try {
    const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(TIMEOUT_MS) })
    const document = discoverySchema.parse(await answer.json())
    if (!answer.ok || document.issuer !== issuer) throw new ApiError('identity_unavailable')
    return document.jwks_uri
  } catch {
    throw new ApiError('identity_unavailable')
  }
}

/** The keys could not be fetched: nothing is known of the token. */
function isAway(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof TypeError) return true
  // jose's own word for an answer other than 200, or one that is no JSON.
  return error instanceof errors.JOSEError && error.code === 'ERR_JOSE_GENERIC'
}

/** Who a token says it is from, before anything of it is believed. */
function issuerOf(token: string): string | null {
  try {
    const payload = token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/')
    const { iss } = JSON.parse(atob(payload)) as { iss?: unknown }
    return typeof iss === 'string' ? iss : null
  } catch {
    return null
  }
}

function fits({ audience, claims }: OidcRule, payload: JWTPayload): boolean {
  const audiences = Array.isArray(payload.aud) ? payload.aud : [payload.aud]
  const isLike = (pattern: string) => (value: unknown) => {
    if (typeof value !== 'string') return false
    return pattern.endsWith('*') ? value.startsWith(pattern.slice(0, -1)) : value === pattern
  }
  const has = ([claim, pattern]: [string, string]) => {
    const value: unknown = Object.hasOwn(payload, claim) ? payload[claim] : undefined
    return Array.isArray(value) ? value.some(isLike(pattern)) : isLike(pattern)(value)
  }
  return audiences.includes(audience) && Object.entries(claims).every(has)
}
