// Sampan in JupyterLab: cost in the status bar, notices as notifications. Nothing on a server that is not Sampan's.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PageConfig } from '@jupyterlab/coreutils';
import { IStatusBar } from '@jupyterlab/statusbar';
import { Poll } from '@lumino/polling';

import { StatusItem } from './item.js';
import { Notices } from './notices.js';
import { keep, readStatus, type IStatus } from './status.js';

const INTERVAL_MS = 10_000;

const plugin: JupyterFrontEndPlugin<void> = {
  id: '@sampan/lab:status',
  description: 'What is running and what it costs in the status bar, and notices about it.',
  autoStart: true,
  optional: [IStatusBar],
  activate: (app: JupyterFrontEnd, statusBar: IStatusBar | null) => {
    const workUrl = PageConfig.getOption('sampanWorkUrl');
    if (workUrl) {
      follow(app, statusBar, workUrl);
    }
  }
};

function follow(app: JupyterFrontEnd, statusBar: IStatusBar | null, workUrl: string): void {
  const settings = app.serviceManager.serverSettings;
  const item = new StatusItem(workUrl);
  statusBar?.registerStatusItem(plugin.id, { item, align: 'left', rank: 90 });
  const show = (status: IStatus): void => {
    item.display(status);
    notices.show(status);
  };
  const notices = new Notices({
    keep: () => {
      keep(settings).then(show, (reason: unknown) => console.warn('This notebook could not be kept:', reason));
    },
    work: () => void window.open(workUrl, '_blank', 'noopener')
  });
  new Poll({
    name: plugin.id,
    auto: true,
    frequency: { interval: INTERVAL_MS, backoff: true, max: 6 * INTERVAL_MS },
    standby: 'when-hidden',
    factory: async () => show(await readStatus(settings))
  });
}

export default plugin;
