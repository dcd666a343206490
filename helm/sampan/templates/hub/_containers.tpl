{{- /* What all containers of the hub's pod have in common. */ -}}
{{- define "sampan.hubContainer" -}}
{{ include "sampan.containerImage" (dict "root" . "image" .Values.hub.image) }}
{{ include "sampan.container" . }}
env:
  - {name: SAMPAN_CONFIG, value: /etc/sampan/sampan.yaml}
  - {name: NOTEBOOK_IMAGE, value: {{ include "sampan.image" (dict "root" . "image" .Values.singleuser.image) | quote }}}
  {{- range $name, $value := .Values.hub.extraEnv }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
{{- end }}

{{- define "sampan.hubMounts" -}}
- {name: state, mountPath: /var/lib/sampan}
- {name: tmp, mountPath: /tmp}
- {name: config, mountPath: /etc/sampan/sampan.yaml, subPath: sampan.yaml, readOnly: true}
{{- if .Values.existingSecret }}
- {name: secrets, mountPath: /etc/sampan/secrets, readOnly: true}
{{- end }}
{{- if .Values.proxy.https.secret.name }}
- {name: tls, mountPath: /etc/sampan/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "sampan.databaseMount" -}}
{{- if .Values.postgresql.enabled }}
- {name: database, mountPath: /etc/sampan/keys, readOnly: true}
{{- end }}
{{- end }}

{{- /* It may take a while to begin with (a migration of its database), and must then answer. */ -}}
{{- define "sampan.hubProbes" -}}
startupProbe:
  exec: {command: [sampan, kubernetes, probe, {{ .what }}]}
  periodSeconds: 2
  timeoutSeconds: 10
  failureThreshold: 90
livenessProbe:
  exec: {command: [sampan, kubernetes, probe, {{ .what }}]}
  periodSeconds: 30
  timeoutSeconds: 10
  failureThreshold: 10
readinessProbe:
  exec: {command: [sampan, kubernetes, probe, {{ .ready }}]}
  periodSeconds: 10
  timeoutSeconds: 10
{{- end }}

{{- /* A container that ends mutual TLS: whoever does not hold the proxy's certificate gets no further. */ -}}
{{- define "sampan.entry" -}}
ports:
  - {name: {{ .name }}, containerPort: {{ .port }}}
resources:
  requests: {cpu: 20m, memory: 64Mi}
  limits: {memory: 256Mi}
startupProbe:
  tcpSocket: {port: {{ .name }}}
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  tcpSocket: {port: {{ .name }}}
  periodSeconds: 30
  failureThreshold: 10
{{- end }}

{{- define "sampan.hubVolumes" -}}
- name: state
  persistentVolumeClaim:
    claimName: {{ .Values.hub.existingClaim | default "sampan-state" }}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
- name: config
  secret:
    secretName: sampan-config
    defaultMode: 0440
- name: keys
  secret:
    secretName: {{ include "sampan.keysSecret" . }}
    defaultMode: 0440
{{- if .Values.postgresql.enabled }}
- name: database
  secret:
    secretName: {{ include "sampan.keysSecret" . }}
    defaultMode: 0440
    items:
      - {key: database-url, path: database-url}
      - {key: hub-database-url, path: hub-database-url}
{{- end }}
{{- with .Values.existingSecret }}
- name: secrets
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.proxy.https.secret }}
{{- if .name }}
- name: tls
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items:
      - {key: {{ .crt | quote }}, path: tls.crt}
      {{- if .ca }}
      - {key: {{ .ca | quote }}, path: ca.crt}
      {{- end }}
{{- end }}
{{- end }}
- name: kubernetes
  {{- include "sampan.kubernetesAccess" . | nindent 2 }}
{{- end }}
