// The item in the status bar: what is running, or what it costs; a click opens My work.

import { Widget } from '@lumino/widgets';

import type { IStatus } from './status.js';
import { after, caption, line } from './words.js';

export class StatusItem extends Widget {
  constructor(url: string) {
    const link = document.createElement('a');
    link.className = 'jp-StatusBar-TextItem';
    link.href = url;
    link.target = '_blank';
    link.rel = 'noopener';
    link.style.color = 'inherit';
    super({ node: link });
    this.addClass('sampan-StatusItem');
  }

  /** Show how things stand; paler when that is not up to date. */
  display(status: IStatus): void {
    const isOld = status.unreachable_s !== null;
    const now = new Date();
    const end = status.ends_in_s === null ? null : after(now, status.ends_in_s);
    this.node.textContent = status.session === null ? '' : line(status.session, end, now);
    this.node.title = status.session === null ? '' : caption(status.session, isOld);
    this.node.style.opacity = isOld ? '0.6' : '1';
  }
}
