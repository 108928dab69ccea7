{{/* Every object of a release is called by the release. */}}
{{- define "sotto.name" -}}
{{- $name := printf "%s-%s" .root.Release.Name .part -}}
{{- /* A Job has nine characters more, and its pods want a label of 63: cut short, two workers could have one state. */ -}}
{{- if gt (len $name) 52 -}}
{{- fail (printf "%s is too long a name: 52 characters at most" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "sotto.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .worker }}
sotto.dev/worker: {{ . }}
{{- end }}
{{- end -}}

{{- define "sotto.labels" -}}
{{ include "sotto.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .dataset }}
sotto.dev/dataset: {{ . }}
{{- end }}
{{- end -}}

{{- define "sotto.coordinatorService" -}}
{{ include "sotto.name" (dict "root" . "part" "coordinator") }}
{{- end -}}

{{/* The coordinator as pods of this cluster reach it. */}}
{{- define "sotto.innerUrl" -}}
{{- printf "http://%s.%s.svc:8787" (include "sotto.coordinatorService" .) .Release.Namespace -}}
{{- end -}}

{{- define "sotto.publicUrl" -}}
{{- $coordinator := .Values.coordinator -}}
{{- if $coordinator.publicUrl -}}
{{ $coordinator.publicUrl }}
{{- else if $coordinator.ingress.enabled -}}
{{ printf "https://%s" $coordinator.ingress.host }}
{{- else -}}
{{ include "sotto.innerUrl" . }}
{{- end -}}
{{- end -}}

{{- define "sotto.coordinatorUrl" -}}
{{- if .Values.coordinatorUrl -}}
{{ .Values.coordinatorUrl }}
{{- else -}}
{{ include "sotto.innerUrl" . }}
{{- end -}}
{{- end -}}

{{/* A worker's own values over those of all workers. */}}
{{- define "sotto.worker" -}}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.worker) (deepCopy .worker)) -}}
{{- end -}}

{{- define "sotto.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "sotto.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "sotto.dnsEgress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Values.dns.namespace }}
      podSelector:
        matchLabels:
          {{- toYaml .Values.dns.podLabels | nindent 10 }}
    {{- range .Values.dns.cidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{- define "sotto.cidrEgress" -}}
{{- range . }}
- to:
    - ipBlock:
        cidr: {{ .cidr }}
        {{- with .except }}
        except:
          {{- toYaml . | nindent 10 }}
        {{- end }}
  ports:
    - {protocol: TCP, port: {{ .port }}}
{{- end }}
{{- end -}}
