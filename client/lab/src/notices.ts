// Notices as Lab notifications: standing ones go when they are no longer true, failures are told once.

import { Notification } from '@jupyterlab/apputils';

import { BACK, failures, standing, type INotice } from './decide.js';
import type { IStatus } from './status.js';

export class Notices {
  constructor(private readonly act: Readonly<Record<'keep' | 'work', () => void>>) {}

  /** Show what is new in `status` and take away what is over. */
  show(status: IStatus): void {
    const wanted = new Map(standing(status, new Date()).map(notice => [notice.key, notice]));
    for (const [key, id] of this.shown) {
      if (!wanted.has(key)) {
        Notification.dismiss(id);
        this.shown.delete(key);
        if (key === 'unreachable') {
          this.emit(BACK, 5000);
        }
      }
    }
    for (const [key, notice] of wanted) {
      if (!this.shown.has(key)) {
        this.shown.set(key, this.emit(notice, false));
      }
    }
    this.tellFailures(status);
  }

  /** Failures from before this page was opened are no news: My work lists them. */
  private tellFailures(status: IStatus): void {
    if (status.session === null) {
      return;
    }
    if (this.told !== null) {
      failures(status, this.told).forEach(notice => this.emit(notice, false));
    }
    this.told = new Set(status.session.failures.map(failure => failure.id));
  }

  private emit(notice: INotice, autoClose: number | false): string {
    return Notification.emit(notice.text, notice.tone, { autoClose, actions: this.actions(notice) });
  }

  private actions(notice: INotice): Notification.IAction[] {
    switch (notice.action) {
      case 'keep':
        return [{ label: 'Keep', caption: 'Let this notebook run on', displayType: 'accent', callback: this.act.keep }];
      case 'work':
        return [{ label: 'My work', caption: 'See what ended, and its output', callback: this.act.work }];
      case null:
        return [];
    }
  }

  private readonly shown = new Map<string, string>();
  private told: Set<string> | null = null;
}
