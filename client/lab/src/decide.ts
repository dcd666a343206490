// Which notices there should be. Pure: what is heard goes in, notices come out.

import type { IFailure, IStatus } from './status.js';
import { after, count, moment } from './words.js';

export const IDLE_WARNING_S = 300;
/** A restart of the service takes a few seconds and is nobody's business. */
export const UNREACHABLE_S = 15;

export type Tone = 'info' | 'success' | 'warning' | 'error';

export interface INotice {
  /** The same for as long as it is about the same thing. */
  readonly key: string;
  readonly tone: Tone;
  readonly text: string;
  readonly action: 'keep' | 'work' | null;
}

/** What is true now and should be seen for as long as it is. */
export function standing(status: IStatus, now: Date): INotice[] {
  const notices = walltime(status, now);
  if (status.unreachable_s !== null) {
    return status.unreachable_s < UNREACHABLE_S ? notices : [...notices, UNREACHABLE];
  }
  if (status.idle_in_s !== null && status.idle_in_s <= IDLE_WARNING_S) {
    notices.push(idle(new Date(now.getTime() + status.idle_in_s * 1000)));
  }
  const paused = status.session?.paused;
  if (paused) {
    const text = `Nothing new can be started at the moment: ${paused}`;
    notices.push({ key: `paused ${paused}`, tone: 'info', text, action: null });
  }
  return notices;
}

const UNREACHABLE: INotice = {
  key: 'unreachable',
  tone: 'warning',
  text: 'The compute service does not answer. What runs goes on; new workers start when it is back.',
  action: null
};

export const BACK: INotice = { key: 'back', tone: 'success', text: 'The compute service is back.', action: null };

/** Once for each end that is announced; it comes also while the service is away. */
function walltime(status: IStatus, now: Date): INotice[] {
  const { session, ends_in_s } = status;
  if (session === null || ends_in_s === null || ends_in_s > session.walltime_notice_s) {
    return [];
  }
  const text =
    `This server ends at ${moment(after(now, ends_in_s), now)}: its walltime is over. ` +
    'Save your work now; the server can be started again after that.';
  return [{ key: `walltime ${session.deadline}`, tone: 'warning', text, action: null }];
}

function idle(end: Date): INotice {
  const time = end.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const text = `This notebook is stopped at ${time} unless something is run in it. Saved files stay.`;
  return { key: 'idle', tone: 'warning', text, action: 'keep' };
}

/** One notice for all failures that are alike, of those whose ids are not `known`. */
export function failures(status: IStatus, known: ReadonlySet<string>): INotice[] {
  const groups = new Map<string, IFailure[]>();
  for (const failure of status.session?.failures ?? []) {
    if (!known.has(failure.id)) {
      const alike = `${failure.kind} ${failure.cluster} ${failure.text}`;
      groups.set(alike, [...(groups.get(alike) ?? []), failure]);
    }
  }
  return [...groups.values()].map(describe);
}

function describe(group: readonly IFailure[]): INotice {
  const first = group[0] as IFailure;
  const kind = first.kind.charAt(0).toUpperCase() + first.kind.slice(1);
  const who = group.length === 1 ? `${kind} ${first.name}`.trim() : count(group.length, first.kind);
  const where = first.cluster === null || who.includes(first.cluster) ? '' : ` of the cluster ${first.cluster}`;
  return { key: `failed ${first.id}`, tone: 'error', text: `${who}${where} ended: ${first.text}`, action: 'work' };
}
