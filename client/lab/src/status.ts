// What the notebook's own server tells, and how to ask it. Names are those of the service's wire (SessionAnswer).

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

export interface IFailure {
  readonly id: string;
  readonly kind: string;
  readonly name: string;
  readonly cluster: string | null;
  readonly text: string;
  readonly at: string;
}

/** Sums over everything the person runs; failures are this notebook's own. */
export interface ISession {
  readonly jobs: number;
  readonly cores_milli: number;
  readonly memory_bytes: number;
  readonly gpus: number;
  readonly price_micros_per_hour: number | null;
  readonly currency: string | null;
  /** When this notebook's walltime ends it; null where it may run on. */
  readonly deadline: string | null;
  /** How long before that it is told. */
  readonly walltime_notice_s: number;
  readonly paused: string | null;
  readonly failures: readonly IFailure[];
}

export interface IStatus {
  /** As last heard; null before the service answered for the first time. */
  readonly session: ISession | null;
  /** For how long the service has not answered; null while it does. */
  readonly unreachable_s: number | null;
  /** Until this notebook is stopped if nothing is run in it; null while something is. */
  readonly idle_in_s: number | null;
  /** Until its walltime ends this notebook, whatever runs in it; null where it may run on. */
  readonly ends_in_s: number | null;
}

/** How things stand. */
export function readStatus(settings: ServerConnection.ISettings): Promise<IStatus> {
  return ask(settings, 'sampan/status', 'GET');
}

/** Count this notebook as used now, so that it is not stopped as idle. */
export function keep(settings: ServerConnection.ISettings): Promise<IStatus> {
  return ask(settings, 'sampan/keep', 'POST');
}

async function ask(settings: ServerConnection.ISettings, path: string, method: string): Promise<IStatus> {
  const url = URLExt.join(settings.baseUrl, path);
  const response = await ServerConnection.makeRequest(url, { method }, settings);
  if (!response.ok) {
    throw await ServerConnection.ResponseError.create(response);
  }
  return (await response.json()) as IStatus;
}
