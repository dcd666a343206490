// Amounts and prices as people read them, the same as on the service's pages. Pure.

import type { ISession } from './status.js';

const GIB = 2 ** 30;

/** `1 job`, `3 jobs`. */
export function count(number: number, one: string): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : `${one}s`}`;
}

/** `1 core`, `0.5 cores`. */
export function cores(milli: number): string {
  return `${trim(milli / 1000, 3)} ${milli === 1000 ? 'core' : 'cores'}`;
}

/** `512 MiB`, `1.5 GiB`. */
export function memory(bytes: number): string {
  return bytes < GIB ? `${trim(bytes / 2 ** 20, 0)} MiB` : `${trim(bytes / GIB, 1)} GiB`;
}

/** Exact, with at least two decimals: `0.25 EUR`, `0.0625 EUR`. */
export function price(micros: number, currency: string | null): string {
  const whole = Math.floor(micros / 1_000_000);
  const rest = String(micros % 1_000_000).padStart(6, '0').replace(/0+$/, '').padEnd(2, '0');
  return `${whole.toLocaleString('en')}.${rest} ${currency ?? ''}`.trim();
}

/** What it costs where there are prices, else what is in use. */
export function label(session: ISession): string {
  if (session.price_micros_per_hour !== null) {
    return `${price(session.price_micros_per_hour, session.currency)} per hour`;
  }
  return `${count(session.jobs, 'job')} · ${cores(session.cores_milli)}`;
}

/** What the status bar shows: the label, and when the walltime ends this server. */
export function line(session: ISession, end: Date | null, now: Date): string {
  return end === null ? label(session) : `${label(session)} · ends ${moment(end, now)}`;
}

export function after(now: Date, seconds: number): Date {
  return new Date(now.getTime() + seconds * 1000);
}

/** `14:05`; with its day where that is not today. */
export function moment(at: Date, now: Date): string {
  const clock = { hour: '2-digit', minute: '2-digit' } as const;
  const day = { weekday: 'short', day: 'numeric', month: 'short' } as const;
  const isToday = at.toDateString() === now.toDateString();
  return isToday ? at.toLocaleTimeString([], clock) : at.toLocaleString([], { ...day, ...clock });
}

/** Everything behind the label. */
export function caption(session: ISession, unreachable: boolean): string {
  const gpus = session.gpus > 0 ? `, ${count(session.gpus, 'GPU')}` : '';
  const held = `You run ${count(session.jobs, 'job')}: ${cores(session.cores_milli)}, ${memory(session.memory_bytes)}${gpus}.`;
  const age = unreachable ? ' This is how it was when the compute service last answered.' : '';
  return `${held}${age} Open My work.`;
}

function trim(number: number, digits: number): string {
  return number.toLocaleString('en', { maximumFractionDigits: digits });
}
