{{- /* What every pod of the chart says of itself: no rights by default, an ordinary user. */ -}}
{{- define "sampan.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* What every container says: it can become nothing else and writes to its volumes only. */ -}}
{{- define "sampan.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* Where the pod goes, from `.values`. */ -}}
{{- define "sampan.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector:
{{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
{{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The priority of proxy and hub. */ -}}
{{- define "sampan.priority" -}}
{{- if .Values.scheduling.podPriority.enabled }}
priorityClassName: {{ include "sampan.priorityClass" . }}
{{- end }}
{{- end }}

{{- define "sampan.priorityClass" -}}
{{ .Release.Namespace }}-sampan-front
{{- end }}

{{- /* The volume with which one container, and not its whole pod, may speak to Kubernetes. */ -}}
{{- define "sampan.kubernetesAccess" -}}
projected:
  defaultMode: 0440
  sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap:
        name: kube-root-ca.crt
        items: [{key: ca.crt, path: ca.crt}]
    - downwardAPI:
        items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}
