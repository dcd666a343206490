{{- /* Labels of everything of the component `.component`; `.root` is the chart's own context. */ -}}
{{- define "sampan.labels" -}}
{{ include "sampan.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Labels by which its pods are found: they never change. */ -}}
{{- define "sampan.selector" -}}
app.kubernetes.io/name: sampan
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* Labels of its pods: no version among them, so that a pod is replaced only for a reason of its own. */ -}}
{{- define "sampan.podLabels" -}}
{{ include "sampan.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
