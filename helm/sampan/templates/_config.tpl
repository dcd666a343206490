{{- /* sampan.yaml: what the site says, and what the chart knows where the site says nothing. */ -}}
{{- define "sampan.config" -}}
{{- $own := dict "tls" "own" "login" "links" -}}
{{- if .Values.postgresql.enabled -}}
{{- $_ := set $own "database" (dict "file" "keys/database-url") -}}
{{- $_ := set $own "hub_database" (dict "file" "keys/hub-database-url") -}}
{{- end -}}
{{- with .Values.proxy.https.secret -}}
{{- if .name -}}
{{- $tls := dict "certificate" "/etc/sampan/tls/tls.crt" "key" "/etc/sampan/tls/tls.key" -}}
{{- if .ca }}{{ $_ := set $tls "ca" "/etc/sampan/tls/ca.crt" }}{{ end -}}
{{- $_ := set $own "tls" $tls -}}
{{- end -}}
{{- end -}}
{{- $config := deepCopy .Values.config -}}
{{- range $config.backends -}}
{{- if and (eq .kind "kubernetes") (not (hasKey . "network_policies")) -}}
{{- $_ := set . "network_policies" $.Values.networkPolicy.enabled -}}
{{- end -}}
{{- end -}}
{{- merge (include "sampan.place" . | fromYaml) $config $own | toYaml -}}
{{- end }}

{{- /* What the proxy reads of it, and nothing that belongs to hub or service alone: another value here replaces it. */ -}}
{{- define "sampan.proxyConfig" -}}
{{- pick (include "sampan.config" . | fromYaml) "profile" "url" "listen" "tls" "state_dir" "layout" | toYaml -}}
{{- end }}

{{- /* Where the processes find each other: the names of this chart's own Services. */ -}}
{{- define "sampan.place" -}}
listen: ":8443"
state_dir: /var/lib/sampan/state
layout:
  proxy_api: https://proxy-api:8444
  hub: https://hub:8443
  service: https://hub:8444
  entry_names: [proxy-public, proxy-public.{{ .Release.Namespace }}, proxy-public.{{ .Release.Namespace }}.svc]
{{- end }}

{{- /* The path that all pages lie under, with a slash at its end. */ -}}
{{- define "sampan.path" -}}
{{ printf "%s/" ((urlParse .Values.config.url).path | trimSuffix "/") }}
{{- end }}

{{- define "sampan.keysSecret" -}}
{{ .Values.keys.existingSecret | default "sampan-keys" }}
{{- end }}
